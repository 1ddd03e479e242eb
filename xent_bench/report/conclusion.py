"""The conclusion of a comparison: one paragraph of plain sentences."""

from collections.abc import Mapping, Sequence

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import Contrast
from xent_bench.comparison.row import Row
from xent_bench.comparison.trust import CALIBRATED, UNDECIDED
from xent_bench.comparison.untrained import untrained
from xent_bench.comparison.yardsticks import by_key
from xent_bench.report.design_words import decided_at, design_sentences, first_words, still_open
from xent_bench.report.tuned import briefly, tuning

CALIBRATION_WORDS = {
    "mixed": "too sure here and not sure enough there",
    UNDECIDED: "judged differently with different seeds",
}


def conclusion(comparison: Comparison) -> str:
    """Summarise which losses are better, worse, tied or undecided, calibration, and caveats."""
    sentences = [
        *first_words(comparison),
        f"On {comparison.setting}, {_seeds(comparison)}{_tuning(comparison)}.",
    ]
    if comparison.unfair:
        sentences.append(_unfair(comparison))
    if comparison.baseline is None and not comparison.unranked:
        sentences.append("There is no baseline to compare with: --baseline LOSS names one.")
    elif not comparison.unranked:
        sentences += _differences(comparison)
    sentences += design_sentences(comparison)
    if comparison.falling:
        falls = [_fall(row, comparison.falling[row.label]) for row in _fallen(comparison)]
        sentences.append(
            "Not trained to the end, since val/nll still fell in the last tenth of the epochs, "
            f"one at least: {briefly(falls)}."
        )
    sentences += _single_epoch(comparison)
    sentences += [f"{sentence}." for sentence in untrained(comparison.rows)]
    sentences += _trust(comparison)
    sentences += _as_trained(comparison)
    left_out = [trial for row in comparison.rows for trial in row.choice.left_out]
    if left_out:
        sentences.append(f"Left out, for want of seeds: {briefly(left_out)}.")
    absent = [row.label for row in comparison.rows if not row.n]
    if absent:
        sentences.append(f"Without any finished run: {briefly(absent)}.")
    return " ".join(sentences)


def _tuning(comparison: Comparison) -> str:
    """Say how losses were tuned; empty for models, of which that is not known."""
    return f", {tuning(comparison)}" if comparison.noun == "loss" else ""


def _fallen(comparison: Comparison) -> list[Row]:
    """Rows of the losses whose val/nll still fell when training ended."""
    return [row for row in comparison.rows if row.label in comparison.falling]


def _fall(row: Row, fall: float) -> str:
    """Name of a loss and its fall in val/nll, or in val/loss if it has no probabilities."""
    has_nll = any("val/nll" in run.metrics or "test/nll" in run.metrics for run in row.runs)
    return f"{row.label} (by {fall:.2g}{'' if has_nll else ' in val/loss'})"


def _single_epoch(comparison: Comparison) -> list[str]:
    """Warn of losses that were trained for one epoch, whose curve of one point shows no fall."""
    single = [
        row.label
        for row in comparison.rows
        if row.n and all(str(run.params.get("epochs")) == "1" for run in row.runs)
    ]
    if not single:
        return []
    which = (
        "" if len(single) == sum(row.n > 0 for row in comparison.rows) else f" {briefly(single)}"
    )
    return [f"Trained for one epoch{which}: whether val/nll would fall further cannot be told."]


def _seeds(comparison: Comparison) -> str:
    """Number of seeds, as a range if losses differ: '3 seeds', '2 to 3 seeds'."""
    counts = sorted({row.n for row in comparison.rows})
    numbers = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f"{numbers} seed{'s' * (counts != [1])}"


def _unfair(comparison: Comparison) -> str:
    """Say why a ranking is unfair, and whether losses are ranked nevertheless."""
    if comparison.unranked:
        begin, end = "Not ranked, since", " --rank-anyway compares them nevertheless."
    else:
        begin, end = "Ranked nevertheless, though", ""
    if comparison.confounded:
        return (
            f"{begin} not only the loss differs between losses ({comparison.unfair}): that may "
            f"cause their differences.{end}"
        )
    return (
        f"{begin} budgets differ ({comparison.unfair}): the loss that was tuned more would seem "
        f"better.{end}"
    )


def _differences(comparison: Comparison) -> list[str]:
    """Sentences on differences to the baseline, and on losses that cannot be compared with it."""
    baseline = str(comparison.baseline)
    example = " (seed=0,1,2,3,4)" if comparison.noun == "loss" else ""
    contrasts = [contrast for contrast in comparison.contrasts if not contrast.same]
    if not contrasts:
        sentences = []
    elif all(contrast.difference.n < 2 for contrast in contrasts):
        sentences = [
            f"With one seed a difference between {comparison.nouns} cannot be told from a "
            f"difference between seeds; five seeds are a start{example}."
        ]
    else:
        sentences = _verdicts(comparison, contrasts, baseline)
    compared = {baseline, *(contrast.label for contrast in comparison.contrasts)}
    unpaired = [row.label for row in comparison.rows if row.n and row.label not in compared]
    if unpaired and comparison.sequential is None:  # there its looks say what is lacking
        sentences.append(f"No seed is shared with {baseline} by {briefly(unpaired)}.")
    return sentences


def _verdicts(comparison: Comparison, contrasts: Sequence[Contrast], baseline: str) -> list[str]:
    """Sentences on what the primary and the secondary metrics decide, and on what is undecided."""
    primary, noun = comparison.options.primary, comparison.noun
    groups = {
        key: [contrast for contrast in contrasts if contrast.yardstick.key == key]
        for key in comparison.options.quoted
    }
    name = by_key(comparison.options.yardsticks)[primary].name
    first = _decided(groups[primary], baseline) or "nothing is decided"
    any_setting = comparison.is_tuned or comparison.confounded or noun != "loss"
    at = "" if any_setting else "at this setting, "
    sentences = [_capital(f"{at}in {name}, the primary metric, {first}.")]
    if not groups[primary]:
        sentences = [f"No {noun} is judged by {name}, the primary metric, which these runs lack."]
    lacking = {contrast.label for contrast in contrasts} - {
        contrast.label for contrast in groups[primary]
    }
    if groups[primary] and lacking:
        sentences.append(f"Without that metric, so not judged by it: {briefly(sorted(lacking))}.")
    others = [group for key, group in groups.items() if key != primary and group]
    decided = [
        f"in {group[0].yardstick.name}, {verdicts}"
        for group in others
        if (verdicts := _decided(group, baseline))
    ]
    if decided:
        sentences.append(f"Secondary: {'; '.join(decided)}.")
    every = [contrast for group in groups.values() for contrast in group]
    undecided = _open([groups[primary], *others])
    if undecided:
        sentences.append(f"Inconclusive with these seeds: {undecided}.")
    sentences += still_open(comparison)
    if every and not any(contrast.verdict == "better" for contrast in every):
        sentences.append(f"So no {noun} is shown to be better than {baseline}.")
    if undecided and comparison.sequential is None and noun == "loss":
        sentences.append(
            "xent-report --power 0.3 says how many seeds would show 0.3 points of top-1."
        )
    if any(contrast.difference.n == 2 for contrast in contrasts):
        sentences.append("Two seeds show little: that is why their intervals are so wide.")
    return sentences


def _open(groups: Sequence[Sequence[Contrast]]) -> str:
    """Metrics with the losses whose difference to the baseline is inconclusive."""
    names = {}
    for group in groups:
        labels = [contrast for contrast in group if contrast.verdict == "inconclusive"]
        if labels:
            names[group[0].yardstick.name] = _labels(labels)
    return "; ".join(f"{name} ({labels})" for name, labels in names.items())


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _decided(contrasts: Sequence[Contrast], baseline: str) -> str:
    """Say which losses are better, worse or tied by one yardstick; empty if none is."""
    parts = []
    for verdict in ("better", "worse"):
        group = sorted(
            (contrast for contrast in contrasts if contrast.verdict == verdict),
            key=lambda contrast: -abs(contrast.difference.mean),
        )
        if group:
            amounts = briefly([f"{one.label} by {_amount(one)}{decided_at(one)}" for one in group])
            parts.append(f"{verdict} than {baseline}: {amounts}")
    ties = [contrast for contrast in contrasts if contrast.verdict.startswith("tie")]
    if ties:
        tie = "ties" if len(ties) == 1 else "tie"
        labels = briefly([f"{one.label}{decided_at(one)}" for one in ties])
        parts.append(f"{labels} {tie} with {baseline} within {ties[0].yardstick.margin()}")
    return " and ".join(parts)


def _labels(group: Sequence[Contrast]) -> str:
    return briefly([contrast.label for contrast in group])


def _is(group: Sequence[object]) -> str:
    return "is" if len(group) == 1 else "are"


def _amount(contrast: Contrast) -> str:
    """Size of a difference without its sign: '0.8 ± 0.3 points'."""
    by = contrast.yardstick
    return f"{by.shown(abs(contrast.difference.mean))}{_half(contrast)}{by.unit}"


def _half(contrast: Contrast) -> str:
    """Half-width of a difference's interval as ' ± 0.01'; empty if there is none."""
    half = contrast.difference.half_width
    return "" if half is None else f" ± {contrast.yardstick.shown(half)}"


def _trust(comparison: Comparison) -> list[str]:
    """Sentences on calibration, as trained and after temperature scaling."""
    sentences = []
    for reading, when in (("test", "As trained"), ("test_ts", "After temperature scaling")):
        verdicts = comparison.trust[reading]
        if not verdicts:
            continue
        miscalibrated = {label: word for label, word in verdicts.items() if word != CALIBRATED}
        if not miscalibrated:
            n = comparison.runs[0].n_test
            image = "image" if comparison.noun == "loss" else "example"
            these = f"this one {image}" if n == 1 else f"these {n:,} {image}s"
            sentences.append(
                f"{when}, no {comparison.noun} is shown to be miscalibrated by {these}."
            )
        else:
            calibrated = [label for label in verdicts if label not in miscalibrated]
            sentences.append(f"{when}, {_miscalibrated(miscalibrated)}{_others(calibrated)}.")
    return sentences


def _as_trained(comparison: Comparison) -> list[str]:
    """Say that models are compared as trained only, where no outputs on calib were given."""
    if comparison.noun == "loss" or "test_ts/nll" in comparison.options.quoted:
        return []
    return ["As trained only: without outputs on calib no temperature is fitted."]


def _miscalibrated(words: Mapping[str, str]) -> str:
    """Group miscalibrated losses by verdict: 'mse and focal are under-confident'."""
    by_word: dict[str, list[str]] = {}
    for label, word in words.items():
        by_word.setdefault(word, []).append(label)
    return "; ".join(
        f"{briefly(labels)} {_is(labels)} {CALIBRATION_WORDS.get(word, word)}"
        for word, labels in by_word.items()
    )


def _others(calibrated: Sequence[str]) -> str:
    if not calibrated:
        return ""
    return f"; {briefly(calibrated)} {_is(calibrated)} not shown to be miscalibrated"
