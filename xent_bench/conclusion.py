"""What a comparison says, in a paragraph of plain words."""

from collections.abc import Sequence

from xent_bench.comparison import Comparison, Row
from xent_bench.contrasts import Contrast
from xent_bench.yardsticks import COMPARED

MOST = 3  # losses named with their numbers; of more their count
CALIBRATED = "within noise"
WORDS = {
    "mixed": "too sure here and not sure enough there",
    "undecided": "judged otherwise from seed to seed",
}


def conclusion(comparison: Comparison) -> str:
    """What is better, worse, the same and open; whether probabilities can be trusted; caveats."""
    sentences = [_opening(comparison)]
    if comparison.unranked:
        sentences.append(
            f"Not ranked, since budgets differ ({comparison.unranked}): the loss that was tuned "
            "more would seem better. --rank-anyway compares them nevertheless."
        )
    elif comparison.baseline is None:
        sentences.append("There is no baseline to compare with: --baseline LOSS names one.")
    else:
        sentences += _differences(comparison)
    sentences += _trust(comparison)
    absent = [row.label for row in comparison.rows if not row.n]
    if absent:
        sentences.append(f"Without any finished run: {_joined(absent)}.")
    return " ".join(sentences)


def _opening(comparison: Comparison) -> str:
    counts = sorted({row.n for row in comparison.rows})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    trials = {row.trials for row in comparison.rows}
    tuned = ""
    if trials != {1}:
        how_many = " to ".join(map(str, sorted({min(trials), max(trials)})))
        tuned = f", each loss at the best of {how_many} trials by {comparison.options.choose_by}"
    return f"On {comparison.setting}, {seeds} seed{'s' * (counts != [1])}{tuned}."


def _differences(comparison: Comparison) -> list[str]:
    """Verdicts by each yardstick, what they come to, and what limits them."""
    baseline = str(comparison.baseline)
    own = [each for each in comparison.contrasts if not each.same]
    if own and all(each.difference.n < 2 for each in own):
        found = [
            "With one seed a difference between losses cannot be told from that between two seeds; "
            "five seeds are a start (seed=0,1,2,3,4)."
        ]
    else:
        found = _verdicts(own, baseline)
    met = {baseline, *(each.label for each in comparison.contrasts)}
    strange = [row.label for row in comparison.rows if row.n and row.label not in met]
    if strange:
        found.append(f"No seed is shared with {baseline} by {_joined(strange)}.")
    return found


def _verdicts(own: Sequence[Contrast], baseline: str) -> list[str]:
    """What is decided by each yardstick; what by none; what it comes to."""
    by_key = {key: [each for each in own if each.yardstick.key == key] for key in COMPARED}
    groups = [group for group in by_key.values() if group]
    found = [sentence for group in groups if (sentence := _decided(group, baseline))]
    said = [each for group in groups for each in group]
    open_ = [[each for each in group if each.verdict == "inconclusive"] for group in groups]
    left = [f"{group[0].yardstick.name} ({_labels(group)})" for group in open_ if group]
    if left:
        found.append(f"Inconclusive with these seeds: {'; '.join(left)}.")
    if said and not any(each.verdict == "better" for each in said):
        found.append(f"So no loss is shown to be better than {baseline}.")
    if left:
        found.append("How many seeds would tell more: xent-report --power 0.3.")
    if any(each.difference.n == 2 for each in own):
        found.append("Two seeds tell little: their intervals are wide for a reason.")
    return found


def _decided(own: Sequence[Contrast], baseline: str) -> str:
    """Which losses are better, worse or as good by one yardstick; nothing if that is open."""
    by = own[0].yardstick
    parts = []
    for verdict in ("better", "worse"):
        group = sorted(
            (each for each in own if each.verdict == verdict),
            key=lambda each: -abs(each.difference.mean),
        )
        if group:
            amounts = _joined([f"{each.label} by {_amount(each)}" for each in group])
            parts.append(f"{verdict} than {baseline}: {amounts}")
    ties = [each for each in own if each.verdict.startswith("tie")]
    if ties:
        tie = "ties" if len(ties) == 1 else "tie"
        parts.append(f"{_labels(ties)} {tie} with {baseline} within {by.margin()}")
    return f"In {by.name}, {'; '.join(parts)}." if parts else ""


def _labels(group: Sequence[Contrast]) -> str:
    return _joined([each.label for each in group])


def _is(group: Sequence[object]) -> str:
    return "is" if len(group) == 1 else "are"


def _amount(contrast: Contrast) -> str:
    by = contrast.yardstick
    return f"{by.shown(abs(contrast.difference.mean))}{_half(contrast)}{by.unit}"


def _half(contrast: Contrast) -> str:
    half = contrast.difference.half_width
    return "" if half is None else f" ± {contrast.yardstick.shown(half)}"


def _joined(names: Sequence[str]) -> str:
    """'a, b and c'; of more than MOST the first, and how many more."""
    if len(names) > MOST + 1:
        names = [*names[:MOST], f"{len(names) - MOST} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _trust(comparison: Comparison) -> list[str]:
    """Which probabilities are calibrated as far as these images can tell."""
    twins = {each.label for each in comparison.contrasts if each.same}  # one loss, another format
    rows = [row for row in comparison.rows if row.n and row.label not in twins]
    found = []
    for prefix, when in (("test", "As trained"), ("test_ts", "After temperature scaling")):
        judged = [row for row in rows if prefix in row.verdicts]
        if not judged:
            continue
        off = [row for row in judged if row.verdicts[prefix] != CALIBRATED]
        if not off:
            n = comparison.runs[0].n_test
            found.append(f"{when}, no loss is shown to be miscalibrated by these {n:,} images.")
        else:
            found.append(f"{when}, {_miscalibrated(off, prefix)}; {_others(judged, off)}.")
    return found


def _miscalibrated(rows: Sequence[Row], prefix: str) -> str:
    by_word: dict[str, list[str]] = {}
    for row in rows:
        by_word.setdefault(row.verdicts[prefix], []).append(row.label)
    return "; ".join(
        f"{_joined(own)} {_is(own)} {WORDS.get(word, word)}" for word, own in by_word.items()
    )


def _others(judged: Sequence[Row], off: Sequence[Row]) -> str:
    rest = [row.label for row in judged if row not in off]
    if not rest:
        return "with most seeds none is calibrated within noise"
    return f"{_joined(rest)} {_is(rest)} calibrated within noise"
