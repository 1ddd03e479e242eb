"""The verdicts of a comparison by its primary metric, as the page begins with them."""

from typing import NamedTuple

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import OPEN, UNJUDGED
from xent_bench.tables import joined

CLASSES = {"better": "better", "worse": "worse", "same": "same", OPEN: "open", UNJUDGED: "unjudged"}


class Verdict(NamedTuple):
    """Losses that share a verdict: its word, the words before their names, and the names."""

    word: str
    words: str
    labels: str


def verdict_class(cell: str) -> str:
    """The CSS class of a verdict, with its sign and its colour; empty for other words."""
    if cell.startswith("tie"):
        return "tie"
    return next((name for word, name in CLASSES.items() if cell.startswith(word)), "unjudged")


def verdicts(comparison: Comparison) -> list[Verdict]:
    """The verdicts by the primary metric, with the losses that have each of them."""
    by_words: dict[tuple[str, str], list[str]] = {}
    for contrast in comparison.contrasts:
        if contrast.yardstick.key != comparison.options.primary:
            continue
        word = "same" if contrast.same else contrast.verdict
        by_words.setdefault((word, _words(word, str(comparison.baseline))), []).append(
            contrast.label
        )
    order = ["better", "tie", "same", "worse", "open", "unjudged"]
    ranked = sorted(by_words.items(), key=lambda item: order.index(verdict_class(item[0][0])))
    return [Verdict(word, words, joined(labels)) for (word, words), labels in ranked]


def _words(word: str, baseline: str) -> str:
    if word in ("better", "worse"):
        return f"{word} than {baseline}"
    if word == "same":
        return f"same weights as {baseline}"
    if word.startswith("tie"):
        return word.replace("tie", f"tie with {baseline}", 1)
    return word
