"""The score of a run on val after an epoch, also of one that is paused or has failed since."""

import math
from pathlib import Path

from xent_bench.config.choice_of_epoch import SIGNS
from xent_bench.runs.begun import load_begun
from xent_bench.runs.curves import load_curves
from xent_bench.runs.files import CURVES, has_result


def val_at(folder: Path, epoch: int, metric: str) -> float | None:
    """The score on val, such as val/nll, that the run would end with after the epoch, from 1.

    With choose=best that is the score of the best epoch so far. A finished run that `patience`
    stopped earlier keeps its last score. What the run has trained since changes nothing. None if it
    has not come so far, if it has no such metric, or if the score is not a number. DataError if its
    files are damaged.
    """
    if not (folder / CURVES).exists():
        return None
    steps = load_curves(folder)
    if epoch not in steps and not has_result(folder):
        return None
    so_far = {step: values for step, values in steps.items() if step <= epoch}
    if not so_far:
        return None
    value = so_far[_evaluated(so_far, folder)].get(metric, math.nan)
    return None if math.isnan(value) else value


def has_epoch(folder: Path, epoch: int) -> bool:
    """Whether the curves of the run come to this epoch. DataError if they are damaged."""
    return (folder / CURVES).exists() and epoch in load_curves(folder)


def _evaluated(steps: dict[int, dict[str, float]], folder: Path) -> int:
    """The epoch whose weights are evaluated if these are all: the last, or the best on val.

    Of equal epochs the earlier one is the best, as in training.
    """
    params = load_begun(folder).params
    by, last = str(params.get("choose_by")), max(steps)
    if params.get("choose") != "best" or by not in SIGNS:
        return last
    scores = {step: SIGNS[by] * values.get(by, math.nan) for step, values in steps.items()}
    scores = {step: score for step, score in scores.items() if not math.isnan(score)}
    return max(scores, key=lambda step: (scores[step], -step), default=last)
