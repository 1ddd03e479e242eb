"""Can the probabilities be trusted? Verdicts on the calibration of each loss, over its seeds.

A net is judged when it is evaluated, by what a calibrated net shows by chance (`null_band`). Here
the verdicts of a loss's seeds become one, and those of all losses are corrected together: of a
comparison in which all are calibrated at most 5 in 100 call one of them miscalibrated.
"""

from collections.abc import Mapping, Sequence

from xent_bench.comparison.stats import LEVEL, holm
from xent_bench.runs.result import Run

CALIBRATED, UNDECIDED = "within noise", "undecided"
# Of scaling the recipe is judged, a temperature fitted anew, and not one net with one temperature.
READINGS = {"test": "test", "test_ts": "test_ts_recipe"}


def trust(runs: Mapping[str, Sequence[Run]], reading: str) -> dict[str, str]:
    """A verdict for each loss that has probabilities in this reading, 'test' or 'test_ts'.

    'within noise', 'over-confident', 'under-confident', 'mixed', or 'undecided' where the seeds are
    miscalibrated in different ways. Runs of a version that kept no p are judged by what most say.
    """
    prefix = READINGS[reading]
    if not all(f"{prefix}_verdict" in run.tags for group in runs.values() for run in group):
        prefix = reading
    words = {
        label: [run.tags[f"{prefix}_verdict"] for run in group]
        for label, group in runs.items()
        if group and all(f"{prefix}_verdict" in run.tags for run in group)
    }
    verdicts = {label: majority(verdicts) for label, verdicts in words.items()}
    key = f"{prefix}_null/p"
    if not all(key in run.metrics for label in words for run in runs[label]):
        return verdicts
    ps = holm([over_seeds([run.metrics[key] for run in runs[label]]) for label in words])
    return {
        label: _miscalibrated(words[label]) if p is not None and p < LEVEL else CALIBRATED
        for label, p in zip(words, ps, strict=True)
    }


def is_judged_by_older(runs: Sequence[Run]) -> bool:
    """Whether a run was judged by a version that knew no recipe and kept no p."""
    return any(
        "test_ts_verdict" in run.tags and f"{READINGS['test_ts']}_null/p" not in run.metrics
        for run in runs
    )


def over_seeds(ps: Sequence[float]) -> float:
    """One p of several runs, which share their test images and so are not independent.

    (n / k) p_(k) with p_(k) the k-th smallest of n and k more than half of them: below LEVEL only
    where most runs are. Valid whatever their dependence.  Rueger, 1978.
    """
    n = len(ps)
    most = n // 2 + 1
    return min(1.0, n / most * sorted(ps)[most - 1])


def _miscalibrated(words: Sequence[str]) -> str:
    """The kind of miscalibration that most of the miscalibrated runs show."""
    return majority([word for word in words if word != CALIBRATED] or [UNDECIDED])


def majority(words: Sequence[str]) -> str:
    """The word that more than half of the runs say; 'undecided' if there is none."""
    word = max(dict.fromkeys(words), key=words.count)
    return word if 2 * words.count(word) > len(words) else UNDECIDED
