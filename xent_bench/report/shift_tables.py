"""Tables of losses under shift and on foreign images."""

from collections.abc import Sequence
from math import isfinite

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.stats import Estimate
from xent_bench.comparison.under_shift import (
    ForeignRow,
    ShiftedRow,
    UnderShift,
    foreign_rows,
    under_shift,
)
from xent_bench.metrics.shifts import CERTAINTIES, DETECTION, FIFTEEN
from xent_bench.report.unscored_shift import how_to_score, table_of_unscored
from xent_bench.tables import Table

COLUMNS = {  # heading, factor and decimals by key
    "shift/top1": ("top-1 %", 100, 1),
    "shift/nll": ("NLL\nraw", 1, 3),
    "shift_ts/nll": ("NLL\nscaled", 1, 3),
    "shift/ece": ("ECE %\nraw", 100, 1),
    "shift_ts/ece": ("ECE %\nscaled", 100, 1),
}
HEADINGS = {
    "auroc": "AUROC %",
    "aupr_test": "AUPR %\ntest positive",
    "aupr_foreign": "AUPR %\nforeign positive",
    "fpr95_test": "FPR95 %\ntest positive",
}
MEANINGS = (
    "Confidence: probability of the answer; margin: largest output minus the second; entropy: of "
    "the probabilities; energy: log sum exp of the logits; output: the largest output. All as "
    "trained."
)


def shift_table(comparison: Comparison) -> Table | None:
    """Table of the losses' means under the corruptions that all have; None if none was scored.

    Where no loss can be compared it says why, and which command scores what is lacking.
    """
    shift = under_shift(comparison)
    if shift is None:
        return table_of_unscored(comparison)
    keys = [key for key in COLUMNS if any(key in row.means for row in shift.rows)]
    is_paired = any(row.difference is not None for row in shift.rows)
    base = comparison.baseline
    paired = [f"top-1 minus\n{base}, points", f"error as %\nof {base}'s"] if is_paired else []
    rows = [
        [
            row.label,
            str(row.n),
            *(_shown(row.means.get(key), *COLUMNS[key][1:]) for key in keys),
            *(_paired(row) if is_paired else ()),
        ]
        for row in shift.rows
    ]
    headings = ["loss", "n", *(COLUMNS[key][0] for key in keys), *paired]
    pairing = " Differences are paired by seed." if is_paired else ""
    brief = f"{_scope(shift)} {_interval(rows)}{pairing}"
    notes = [
        brief,
        "Scaled: after temperature scaling, with the temperature fitted on clean calib.",
    ]
    if is_paired:
        notes.append(
            f"Error as % of {base}'s: sum of errors over severities divided by {base}'s, mean over "
            "corruptions, as is the mCE of Hendrycks and Dietterich (2019), whose baseline is "
            "AlexNet. Differences are not judged."
        )
    unscored = _unscored(shift)
    to_type = how_to_score(comparison) if unscored else []
    whole = [" ".join([*notes, *unscored]), *to_type]
    return Table("Under shift", headings, rows, whole, 1, [brief, *unscored, *to_type])


def foreign_table(comparison: Comparison) -> Table | None:
    """Table of AUROC by certainty, a row for each foreign set and loss; None without any."""
    sets = foreign_rows(comparison)
    every = [row for rows in sets.values() for row in rows]
    if not every:
        return None
    shown = [word for word in CERTAINTIES if any(row.certainty == word for row in every)]
    cells = []
    for name, rows in sets.items():
        for label in dict.fromkeys(row.label for row in rows):
            of_loss = {row.certainty: row for row in rows if row.label == label}
            n = next(iter(of_loss.values())).n
            aurocs = [
                _shown(of_loss[word].scores.get("auroc") if word in of_loss else None, 100, 1)
                for word in shown
            ]
            cells.append([name, label, str(n), *aurocs])
    brief = (
        "AUROC in % of each certainty as trained, to tell test's images from foreign ones. "
        f"{_interval(cells)}"
    )
    headings = ["images", "loss", "n", *shown]
    return Table("Foreign images", headings, cells, [brief, MEANINGS], 2, [brief])


def foreign_in_full(comparison: Comparison) -> list[Table]:
    """Tables of all scores of the detection of each foreign set."""
    return [_full(name, rows) for name, rows in foreign_rows(comparison).items()]


def _full(name: str, rows: Sequence[ForeignRow]) -> Table:
    cells = [
        [
            row.label,
            row.certainty,
            str(row.n),
            *(_shown(row.scores.get(key), 100, 1) for key in DETECTION),
        ]
        for row in rows
    ]
    headings = ["loss", "by", "n", *(HEADINGS[key] for key in DETECTION)]
    notes = [
        f"{_interval(cells)} AUROC: probability that a test image is more certain "
        "than a foreign one. AUPR: average precision; it depends on how many images there are of "
        "either kind. FPR95: share of foreign images that are accepted where 95 % of test's are. "
        f"{MEANINGS}"
    ]
    return Table(f"Foreign images: {name}", headings, cells, notes, text=2)


def _interval(rows: Sequence[Sequence[str]]) -> str:
    """The meaning of the cells, in a sentence, with an interval where they have one."""
    has_interval = any("±" in cell for row in rows for cell in row)
    return f"Mean{' ± 95 % interval' * has_interval} over n seeds."


def _scope(shift: UnderShift) -> str:
    """The corruptions and severities in words."""
    is_standard = set(shift.names) == set(FIFTEEN)
    few = ", ".join(shift.names) if len(shift.names) <= 4 else f"{len(shift.names)} corruptions"
    names = "the 15 corruptions of Hendrycks and Dietterich" if is_standard else few
    severities = ", ".join(map(str, shift.severities))
    images = " and ".join(shift.images)
    return f"Test under {names}, severities {severities}, {images} images."


def _unscored(shift: UnderShift) -> list[str]:
    if not shift.unscored:
        return []
    return [f"Not scored under shift, and so left out: {', '.join(shift.unscored)}."]


def _paired(row: ShiftedRow) -> list[str]:
    return [
        _shown(row.difference, 100, 1, sign="+"),
        _shown(row.relative_error, 100, 1),
    ]


def _shown(value: Estimate | None, scale: float, decimals: int, sign: str = "") -> str:
    if value is None or not isfinite(value.mean):
        return "-" if value is None else "∞"
    half = "" if value.half_width is None else f"±{scale * value.half_width:.{decimals}f}"
    return f"{scale * value.mean:{sign}.{decimals}f}{half}"
