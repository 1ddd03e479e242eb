"""Means of a run's scores over the corruptions that all scored runs of its setting share."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from xent_bench.comparison.setting import Setting, setting_of
from xent_bench.comparison.under_shift import corruptions_of
from xent_bench.metrics.shifts import MEAN, SCORES
from xent_bench.runs.result import Run


def with_shift_means(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with their means under shift, such as shift/mean/top1.

    A run that was not scored under shift has none. A run's own mean, over all corruptions, is
    replaced: losses are compared under the same ones.
    """
    shared: dict[Setting, set[str]] = {}
    for run in runs:
        if conditions := corruptions_of(run):
            setting = setting_of(run)
            shared[setting] = shared.get(setting, conditions) & conditions
    return [
        replace(run, metrics=_averaged(run, shared.get(setting_of(run), set()))) for run in runs
    ]


def _averaged(run: Run, shared: set[str]) -> dict[str, float]:
    means = {f"{prefix}/{MEAN}/" for prefix in SCORES}
    metrics = {k: v for k, v in run.metrics.items() if not k.startswith(tuple(means))}
    for prefix, scores in SCORES.items():
        for score in scores:
            keys = [f"{prefix}/{condition}/{score}" for condition in sorted(shared)]
            if keys and all(key in metrics for key in keys):
                metrics[f"{prefix}/{MEAN}/{score}"] = fmean(metrics[key] for key in keys)
    return metrics
