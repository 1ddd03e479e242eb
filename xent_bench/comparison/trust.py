"""Verdicts on the calibration of each loss over its seeds: can its probabilities be trusted?

The evaluation of a run judges one net, by the miscalibration that a calibrated net shows by chance
(`null_band`). This module combines the verdicts of a loss's seeds into one and corrects for the
number of losses: if all losses are calibrated, at most 5 in 100 comparisons call one of them
miscalibrated.
"""

from collections.abc import Mapping, Sequence

from xent_bench.comparison.stats import LEVEL, holm
from xent_bench.runs.result import Run

CALIBRATED, UNDECIDED = "within noise", "undecided"
# By reading, the prefix of the verdicts to use. After scaling the verdict is on the recipe, where
# the temperature is fitted anew in each simulation, and not on one net with one temperature.
VERDICT_PREFIXES = {"test": "test", "test_ts": "test_ts_recipe"}


def trust(runs: Mapping[str, Sequence[Run]], reading: str) -> dict[str, str]:
    """Judge the calibration of each loss that has probabilities in this reading.

    `reading` is 'test' (as trained) or 'test_ts' (after scaling). A verdict is 'within noise',
    'over-confident', 'under-confident', 'mixed', or 'undecided' if the seeds are miscalibrated in
    different ways. ValueError if a run lacks the p of its verdict.
    """
    prefix = VERDICT_PREFIXES[reading]
    words = {
        label: [run.tags[f"{prefix}_verdict"] for run in group]
        for label, group in runs.items()
        if group and all(f"{prefix}_verdict" in run.tags for run in group)
    }
    ps = holm([over_seeds([_p(run, prefix) for run in runs[label]]) for label in words])
    return {
        label: _miscalibrated(words[label]) if p is not None and p < LEVEL else CALIBRATED
        for label, p in zip(words, ps, strict=True)
    }


def over_seeds(ps: Sequence[float]) -> float:
    """Combine the p of a loss's runs: (n / k) p_(k), with p_(k) the k-th smallest of n.

    k is the smallest number that is more than half of n, so the result is below LEVEL only if most
    p are. The runs share their test images and so are not independent; this combination is valid
    for any dependence.  Rueger, 1978.
    """
    n = len(ps)
    k = n // 2 + 1
    return min(1.0, n / k * sorted(ps)[k - 1])


def _p(run: Run, prefix: str) -> float:
    """The p of a run's verdict, which every evaluation writes with it."""
    key = f"{prefix}_null/p"
    if key not in run.metrics:
        raise ValueError(
            f"{run.name}: expected {key} beside its {prefix}_verdict; xent-rescore computes it "
            "from the run's predictions"
        )
    return run.metrics[key]


def _miscalibrated(words: Sequence[str]) -> str:
    """The kind of miscalibration that most of the miscalibrated runs show."""
    return majority([word for word in words if word != CALIBRATED] or [UNDECIDED])


def majority(words: Sequence[str]) -> str:
    """The verdict of more than half of the runs; 'undecided' if there is none."""
    word = max(dict.fromkeys(words), key=words.count)
    return word if 2 * words.count(word) > len(words) else UNDECIDED
