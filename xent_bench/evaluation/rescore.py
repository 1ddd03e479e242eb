"""Rescoring: every metric of a finished run is computed again from its stored predictions.

A number that was logged must come out exactly as it was. A new metric, or a calibrator that is
asked for, is added to `result.json` and to MLflow. No PyTorch, no GPU.
"""

import dataclasses
import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from xent_bench.metrics.reported import OF_VAL, calibrators_in
from xent_bench.runs.files import (
    CLASSES,
    LOCK,
    PICTURES,
    PREDICTIONS,
    RESULT,
    is_pending,
    set_pending,
)
from xent_bench.runs.result import Run, load_run, save_run
from xent_bench.tracking.send import send_added

ROUNDING = {"rel_tol": 1e-9, "abs_tol": 1e-12}


class Rescored(NamedTuple):
    """The outcome of a rescoring; its lists are keys of metrics."""

    run: Run  # as it is now
    same: int  # how many numbers came out as logged
    added: list[str]
    retired: list[str]  # logged, but no longer computed
    rounded: list[str]  # the same but for rounding, as on another processor
    changed: list[str]  # came out differently: then nothing was added


def rescore(
    folder: Path,
    calibrators: Collection[str] = (),
    *,
    pictures: bool = False,
    offline: bool = False,
) -> Rescored:
    """Compute a run's metrics again, also with these calibrators, and keep what is new.

    It is kept in the folder, and unless offline in MLflow. DataError if the folder cannot be read,
    Unavailable if MLflow does not take it.
    """
    from xent_bench.evaluation.classes_file import write_classes
    from xent_bench.evaluation.evaluate import evaluate  # SciPy takes half a second
    from xent_bench.evaluation.shifted import shifted
    from xent_bench.runs.predictions import load

    run = load_run(folder / RESULT)
    predictions = load(folder / PREDICTIONS)
    fitted = calibrators_in(run.metrics)
    evaluation = evaluate(predictions, dict.fromkeys([*fitted, *calibrators]))
    others = shifted(folder, predictions, evaluation.metrics["test_ts/temperature"])
    metrics, tags = evaluation.metrics | others.metrics, evaluation.words | others.tags
    unequal = [key for key in metrics if run.metrics.get(key, metrics[key]) != metrics[key]]
    rounded = [key for key in unequal if math.isclose(run.metrics[key], metrics[key], **ROUNDING)]
    changed = [key for key in unequal if key not in rounded]
    changed += [key for key in tags if run.tags.get(key, tags[key]) != tags[key]]
    added = {key: value for key, value in metrics.items() if key not in run.metrics}
    # predictions on val are not kept
    tested = {key for key in run.metrics if not key.startswith(OF_VAL)}
    retired = sorted(tested - metrics.keys())
    same = len(metrics.keys() & run.metrics.keys()) - len(changed)
    if changed:
        return Rescored(run, same, [], retired, rounded, changed)
    files = []
    if pictures or set(calibrators) - set(fitted):  # which show a new calibrator too
        from xent_bench.evaluation.draw import draw_pictures  # matplotlib takes half a second

        files = draw_pictures(evaluation, predictions.classes, run.params, folder / PICTURES)
    if added or files or not (folder / CLASSES).exists():
        files += write_classes(evaluation, predictions.classes, predictions.train_counts, folder)
    if added or files:
        run = _keep(folder, added, tags, offline=offline)
    return Rescored(run, same, list(added), retired, rounded, [])


def _keep(folder: Path, metrics: dict[str, float], tags: dict[str, str], *, offline: bool) -> Run:
    """Add metrics and tags to the result, and to MLflow unless the folder waits for xent-sync."""
    result = folder / RESULT
    with FileLock(folder / LOCK):  # another process may be adding something else
        sent_later, ended = offline or is_pending(folder), result.stat()
        set_pending(folder)
        run = load_run(result)
        run = dataclasses.replace(run, metrics=run.metrics | metrics, tags=run.tags | tags)
        save_run(run, folder)
        os.utime(
            result, ns=(ended.st_atime_ns, ended.st_mtime_ns)
        )  # its time stays that of the training
        if not sent_later:
            send_added(folder)
    return run
