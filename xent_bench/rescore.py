"""xent-rescore: every metric of finished runs, computed again from their stored predictions.

What was logged must come out again, exactly. What was not, a metric that is new or a calibrator
that is asked for, is added to `result.json` and to MLflow. No PyTorch, no GPU.
"""

import argparse
import dataclasses
import math
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from xent_bench.calibrators import PREFIXES
from xent_bench.failures import Unavailable
from xent_bench.run_files import RESULT, is_pending
from xent_bench.runs import Run, load_run, save_run
from xent_bench.sync import send_added
from xent_bench.tracking.pending import set_pending

OF_VAL = ("val/", "val_last_tenth/")
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


def main() -> None:
    """The console script."""
    options = _parser().parse_args()
    try:
        code = _rescore_all(options)
    except BrokenPipeError:  # xent-rescore | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


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
    from xent_bench.evaluation import evaluate  # SciPy takes half a second
    from xent_bench.predictions import load

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
        from xent_bench.run_pictures import draw_pictures  # matplotlib takes another

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


def _rescore_all(options: argparse.Namespace) -> int:
    """A line a run, of which one that fails does not hold up the next; the first failure's code."""
    codes = []
    folders = [folder for place in options.runs for folder in _run_folders(place)]
    for folder in folders:
        try:
            found = rescore(folder, options.calibrator, pictures=options.pictures)
        except (ValueError, OSError, Unavailable) as error:
            print(f"xent-rescore: {folder}: {error}", file=sys.stderr)
            codes.append(3 if isinstance(error, ValueError) else 4)
            continue
        print(f"{folder}: {_said(found)}", flush=True)
        codes.append(int(bool(found.changed)))
        if len(folders) == 1:
            _show(found.run)
    if not folders:
        places = ", ".join(map(str, options.runs))
        print(f"xent-rescore: no finished run, with a result.json, in {places}", file=sys.stderr)
        codes.append(3)
    return next((code for code in codes if code), 0)


def _show(run: Run) -> None:
    from xent_bench.scorecard import scorecard
    from xent_bench.tables import print_table

    print_table(scorecard(run))


def _run_folders(place: Path) -> list[Path]:
    """The run's folder, or all below it."""
    return [file.parent for file in sorted(place.rglob(RESULT))]


def _said(found: Rescored) -> str:
    if found.changed:
        return f"{len(found.changed)} numbers are NOT as logged: {_names(found.changed)}"
    parts = [f"{found.same} numbers as logged"]
    if found.rounded:
        parts.append(f"{len(found.rounded)} of them but for rounding")
    if found.added:
        parts.append(f"{len(found.added)} added")
    if found.retired:
        parts.append(f"{len(found.retired)} computed no more: {_names(found.retired)}")
    return ", ".join(parts)


def _names(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + ", ..." * (len(keys) > 3)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xent-rescore",
        description="Compute every metric of finished runs again from their stored predictions; "
        "compare with what was logged, and add what is new. Of a single run, show all of them.",
        epilog="Exit codes: 0 done, 1 a number is not as logged, 2 bad usage, 3 unreadable runs, "
        "4 MLflow or the folder cannot be written to.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, or above"
    )
    parser.add_argument(
        "--calibrator",
        action="append",
        choices=[name for name in PREFIXES if name != "temperature"],
        default=[],
        help="report also what this gives, fitted on calib",
    )
    parser.add_argument("--pictures", action="store_true", help="draw its pictures again")
    return parser
