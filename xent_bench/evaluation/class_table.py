"""The table of one run's classes, the worst first, and `class_scores.csv` with all of them."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xent_bench.arrays import Values
from xent_bench.calibrators.temperature import fit_temperature
from xent_bench.evaluation.evaluate import readings
from xent_bench.metrics.class_scores import AnswerGaps, ClassScores, answer_gaps, class_scores
from xent_bench.runs.files import CLASS_SCORES, PREDICTIONS
from xent_bench.runs.predictions import load
from xent_bench.runs.whole_files import write_whole
from xent_bench.tables import Table

MOST = 20  # classes that a terminal is shown
DECIMALS = 6
READINGS = {"test": "", "test_ts": "scaled_"}  # how the columns of a gap begin in the file
HEADINGS = (
    *("class", "most often\ntaken for", "n", "F1 %", "recall %\n± SE", "precision\n%"),
    *("conf. %", "gap %", "by\nchance", "scaled\ngap %"),
)


class Classes(NamedTuple):
    """Scores of the classes of one run on test, in the order of the outputs."""

    names: tuple[str, ...]
    scores: ClassScores
    gaps: dict[str, AnswerGaps]  # by prefix; "test" is absent where scores are no probabilities
    is_soft: bool


def classes_of(folder: Path) -> Classes:
    """Score the classes of a run by its stored predictions. DataError if these cannot be read."""
    predictions = load(folder / PREDICTIONS)
    by_prefix = readings(predictions, fit_temperature(predictions.calib, predictions.link))
    c = len(predictions.classes)
    gaps = {prefix: answer_gaps(examples, c) for prefix, examples in by_prefix.items()}
    return Classes(
        predictions.classes,
        class_scores(by_prefix["test"], c),
        {prefix: of_reading for prefix, of_reading in gaps.items() if of_reading is not None},
        by_prefix["test"].soft is not None,
    )


def write_class_scores(classes: Classes, folder: Path) -> Path:
    """Write a row for each class, in the order of the outputs; what is not defined is empty."""
    scores = classes.scores
    columns: dict[str, Sequence[str]] = {"class": classes.names}
    columns |= {
        name: [_number(value) for value in values]
        for name, values in scores._asdict().items()
        if name != "taken_for"
    }
    columns["taken_for"] = [
        classes.names[place] if place >= 0 else "" for place in scores.taken_for
    ]
    for prefix, gaps in classes.gaps.items():
        for name, values in gaps._asdict().items():
            end = name if name in ("confidence", "gap") else f"gap_by_chance_{name}"
            columns[f"{READINGS[prefix]}{end}"] = [_number(value) for value in values]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_whole(folder / CLASS_SCORES, text.getvalue())
    return folder / CLASS_SCORES


def class_table(name: str, classes: Classes) -> Table:
    """Table with a row for each class, those with the lowest F1 first; at most MOST of them."""
    scores = classes.scores
    order = np.argsort(scores.f1, kind="stable")  # NaN comes last
    rows = [_row(classes, place) for place in order[:MOST]]
    return Table(f"{name}: classes", HEADINGS, rows, _notes(classes, len(rows)), text=2)


def _row(classes: Classes, place: int) -> list[str]:
    scores = classes.scores
    taken_for = scores.taken_for[place]
    cells = [
        classes.names[place],
        f"{classes.names[taken_for]} ({scores.taken[place]:.4g})" if taken_for >= 0 else "-",
        f"{scores.images[place]:,.6g}",
        _percent(scores.f1[place]),
        _percent(scores.recall[place], scores.recall_error[place]),
        _percent(scores.precision[place]),
    ]
    shown = classes.gaps.get("test", classes.gaps["test_ts"])  # in the columns without a reading
    cells.append(_percent(shown.confidence[place]))
    return [
        *cells,
        _gap(classes.gaps.get("test"), place),
        _by_chance(shown, place),
        _gap(classes.gaps["test_ts"], place),
    ]


def _gap(gaps: AnswerGaps | None, place: int) -> str:
    if gaps is None or np.isnan(gaps.gap[place]):
        return "- "
    return f"{_percent(gaps.gap[place])}{'*' if gaps.is_outside[place] else ' '}"


def _by_chance(gaps: AnswerGaps, place: int) -> str:
    if np.isnan(gaps.gap[place]):
        return "-"
    return f"{100 * gaps.low[place]:.1f}..{100 * gaps.high[place]:.1f}"


def _percent(value: float, error: float = np.nan) -> str:
    if np.isnan(value):
        return "-"
    return f"{100 * value:.1f}" + (f" ± {100 * error:.1f}" if error > 0 else "")


def _notes(classes: Classes, shown: int) -> list[str]:
    c = len(classes.names)
    notes = [
        "n: images of the class in test. Classes with the lowest F1, the harmonic mean of recall "
        "and precision, come first. In brackets: how many of its images are taken for that class.",
        "gap: mean confidence (conf.) of the images that are answered with the class, less the "
        "share of them that are right; above 0: too sure. By chance: the central 95 % for a "
        f"calibrated net with these confidences; {CLASS_SCORES} in the run's folder has that after "
        "scaling too.",
    ]
    for prefix, gaps in classes.gaps.items():
        answered = int((~np.isnan(gaps.gap)).sum())
        outside = int(gaps.is_outside.sum())
        reading = "as trained" if prefix == "test" else "after temperature scaling"
        notes.append(
            f"*: outside of that, {reading} {outside:,} of {answered:,} classes; a calibrated net "
            f"has at most {0.05 * answered:.3g} on average."
        )
    if "test" not in classes.gaps:
        notes.append("As trained the scores are no probabilities; conf. is that after scaling.")
    if classes.is_soft:
        notes.append("Labels are distributions q: right answers are sums of q.")
    if shown < c:
        notes.append(f"These are {shown} of {c:,} classes; {CLASS_SCORES} in the folder has all.")
    return notes


def _number(value: Values | float) -> str:
    """The number rounded to DECIMALS; empty if it is NaN."""
    return "" if np.isnan(value) else f"{round(float(value), DECIMALS):.12g}"
