"""Table for runs whose true p(y|x) is known, and notes for labels that are distributions."""

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.row import Row
from xent_bench.tables import Table

SCALE = {"true_kl": 1, "true_ece": 100, "excess_risk": 100}
DECIMALS = {"true_kl": 4, "true_ece": 2, "excess_risk": 2}


def truth_table(comparison: Comparison) -> Table | None:
    """Table of each loss's distance from the true p(y|x), mean over seeds; None if unknown."""
    rows = [row for row in comparison.rows if "test/excess_risk" in row.estimates]
    if not rows:
        return None
    keys = ("test/true_kl", "test_ts/true_kl", "test/true_ece", "test_ts/true_ece")
    cells = [
        [row.label, str(row.n), *(_cell(row, key) for key in (*keys, "test/excess_risk"))]
        for row in rows
    ]
    headings = [
        *("loss", "n", "true KL\nraw", "true KL\nscaled", "true ECE %\nraw"),
        *("true ECE %\nscaled", "excess\nrisk %"),
    ]
    notes = [
        "The true p(y|x) of these test images is known, unlike that of a real data set. True KL: "
        "mean of KL(p(y|x) || p), nats. True ECE: computed with p(y|x) of the answer in place of "
        "the label, so without the noise of labels. Excess risk: error rate minus that of the best "
        "possible rule. Scaled: after temperature scaling. ±: 95 % interval over seeds."
    ]
    brief = ["Computed with p(y|x) of these test images, which is known. KL in nats."]
    return Table("Against the truth", headings, cells, notes, 1, brief)


def label_notes(comparison: Comparison) -> list[str]:
    """Notes on metrics whose labels are distributions; empty for ordinary labels."""
    key = "test/label_entropy"
    floors = [row.estimates[key].mean for row in comparison.rows if key in row.estimates]
    if not floors:
        return []
    return [
        "Labels are distributions q: top-1 is the mean q of the answer, and NLL, -sum q log p, "
        f"cannot be less than their entropy, here {min(floors):.3f} nats."
    ]


def _cell(row: Row, key: str) -> str:
    estimate = row.estimates.get(key)
    if estimate is None:
        return "-"
    metric = key.partition("/")[2]
    scale, decimals = SCALE[metric], DECIMALS[metric]
    half = "" if estimate.half_width is None else f"±{scale * estimate.half_width:.{decimals}f}"
    return f"{scale * estimate.mean:.{decimals}f}{half}"
