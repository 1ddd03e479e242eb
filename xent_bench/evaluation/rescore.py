"""xent-rescore: every metric of finished runs, computed again from their stored predictions.

What was logged must come out again, exactly. What was not, a metric that is new or a calibrator
that is asked for, is added to `result.json` and to MLflow. No PyTorch, no GPU.
"""

import dataclasses
import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from xent_bench.metrics.reported import OF_VAL, PREFIXES
from xent_bench.runs.files import RESULT, is_pending, set_pending
from xent_bench.runs.result import Run, load_run, save_run
from xent_bench.tracking.send import send_added

ROUNDING = {"rel_tol": 1e-9, "abs_tol": 1e-12}


class Rescored(NamedTuple):
    """A run as it is now; how many numbers came out as logged, and which of them but for rounding,
    as on another processor; the keys that were added; those that are no longer computed; and those
    that came out otherwise: then nothing was added.
    """

    run: Run
    same: int
    added: list[str]
    retired: list[str]
    rounded: list[str]
    changed: list[str]


def rescore(
    folder: Path,
    calibrators: Collection[str] = (),
    *,
    pictures: bool = False,
    offline: bool = False,
) -> Rescored:
    """Compute a run's metrics again, of these calibrators too, and keep what is new: in the folder,
    and unless offline in MLflow.
    """
    from xent_bench.evaluation.evaluate import evaluate  # SciPy takes half a second
    from xent_bench.runs.predictions import load

    run = load_run(folder / RESULT)
    predictions = load(folder / "predictions.npz")
    had = [name for name, prefix in PREFIXES.items() if f"{prefix}/top1" in run.metrics]
    evaluation = evaluate(predictions, dict.fromkeys([*had, *calibrators]))
    metrics, words, _ = evaluation
    unequal = [key for key in metrics if run.metrics.get(key, metrics[key]) != metrics[key]]
    rounded = [key for key in unequal if math.isclose(run.metrics[key], metrics[key], **ROUNDING)]
    changed = [key for key in unequal if key not in rounded]
    changed += [key for key in words if run.tags.get(key, words[key]) != words[key]]
    added = {key: value for key, value in metrics.items() if key not in run.metrics}
    tested = {key for key in run.metrics if not key.startswith(OF_VAL)}  # of val nothing is kept
    retired = sorted(tested - metrics.keys())
    same = len(metrics.keys() & run.metrics.keys()) - len(changed)
    if changed:
        return Rescored(run, same, [], retired, rounded, changed)
    files = []
    if pictures or set(calibrators) - set(had):  # a new calibrator is on them too
        from xent_bench.evaluation.draw import draw_pictures  # matplotlib takes another

        files = draw_pictures(evaluation, predictions.classes, run.params, folder / "pictures")
    if added or files:
        run = _keep(folder, added, words, offline=offline)
    return Rescored(run, same, list(added), retired, rounded, [])


def _keep(folder: Path, metrics: dict[str, float], words: dict[str, str], *, offline: bool) -> Run:
    """In its folder and, unless that waits for xent-sync anyhow, in MLflow."""
    result = folder / RESULT
    with FileLock(folder / ".lock"):  # another may be adding something else
        waits, ended = offline or is_pending(folder), result.stat()
        set_pending(folder)
        run = load_run(result)
        run = dataclasses.replace(run, metrics=run.metrics | metrics, tags=run.tags | words)
        save_run(run, folder)
        os.utime(result, ns=(ended.st_atime_ns, ended.st_mtime_ns))  # when it was trained
        if not waits:
            send_added(folder)
    return run
