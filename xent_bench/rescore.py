"""xent-rescore: every metric of finished runs, computed again from their stored predictions.

What was logged must come out again, exactly. What was not, a metric that is new or a calibrator
that is asked for, is added to `result.json` and to MLflow. No PyTorch, no GPU.
"""

import argparse
import dataclasses
import math
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from xent_bench.calibrators import PREFIXES
from xent_bench.runs import Run, load_run, save_run

ROUNDING = {"rel_tol": 1e-9, "abs_tol": 1e-12}


class Rescored(NamedTuple):
    """A run as it is now; the keys that were added; those that came out equal but for rounding, as
    on another processor; and those that came out otherwise: then nothing was added.
    """

    run: Run
    added: list[str]
    rounded: list[str]
    changed: list[str]


def main() -> None:
    """The console script."""
    options = _parser().parse_args()
    changed = False
    try:
        folders = [folder for place in options.runs for folder in _run_folders(place)]
        for folder in folders:
            found = rescore(folder, options.calibrator, pictures=options.pictures)
            print(f"{folder}: {_said(found)}", flush=True)
            changed |= bool(found.changed)
        if len(folders) == 1:
            _show(found.run)
    except BrokenPipeError:  # xent-rescore | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ValueError as error:
        print(f"xent-rescore: {error}", file=sys.stderr)
        sys.exit(3)
    sys.exit(changed)


def _show(run: Run) -> None:
    from xent_bench.scorecard import scorecard
    from xent_bench.tables import print_table

    print_table(scorecard(run))


def rescore(folder: Path, calibrators: Collection[str] = (), *, pictures: bool = False) -> Rescored:
    """Compute a run's metrics again, of these calibrators too, and keep what is new."""
    from xent_bench.evaluation import evaluate  # SciPy takes half a second
    from xent_bench.predictions import load

    run = load_run(folder / "result.json")
    predictions = load(folder / "predictions.npz")
    had = [name for name, prefix in PREFIXES.items() if f"{prefix}/top1" in run.metrics]
    evaluation = evaluate(predictions, dict.fromkeys([*had, *calibrators]))
    metrics, words, _ = evaluation
    unequal = [key for key in metrics if run.metrics.get(key, metrics[key]) != metrics[key]]
    rounded = [key for key in unequal if math.isclose(run.metrics[key], metrics[key], **ROUNDING)]
    changed = [key for key in unequal if key not in rounded]
    if changed:
        return Rescored(run, [], rounded, changed)
    files = []
    if pictures:
        from xent_bench.run_pictures import draw_pictures  # matplotlib takes another

        files = draw_pictures(evaluation, predictions.classes, run.params, folder / "pictures")
    added = {key: value for key, value in metrics.items() if key not in run.metrics}
    if added or files:
        run = dataclasses.replace(run, metrics=run.metrics | added, tags=run.tags | words)
        save_run(run, folder)
        _tell_mlflow(folder, added, words, files)
    return Rescored(run, list(added), rounded, [])


def _tell_mlflow(
    folder: Path, metrics: dict[str, float], tags: dict[str, str], files: list[Path]
) -> None:
    """As far as it can be reached: the folder is what counts."""
    from xent_bench.failures import Unavailable
    from xent_bench.tracking_store import add_to_run  # MLflow takes seconds

    try:
        add_to_run(folder, metrics, tags, files)
    except Unavailable as error:
        print(f"xent-rescore: not added to MLflow: {error}", file=sys.stderr)


def _run_folders(place: Path) -> Iterator[Path]:
    """The run's folder, or all below it."""
    files = sorted(place.rglob("result.json"))
    if not files:
        raise ValueError(f"no finished run in {place}: expected a result.json in a run's folder")
    yield from (file.parent for file in files)


def _said(found: Rescored) -> str:
    n = len(found.run.metrics) - len(found.added)
    if found.changed:
        names = ", ".join(found.changed[:3]) + ", ..." * (len(found.changed) > 3)
        return f"{len(found.changed)} of {n} numbers are NOT as logged: {names}"
    said = f"{n} numbers as logged"
    if found.rounded:
        said += f", {len(found.rounded)} of them but for rounding"
    return said + f", {len(found.added)} added" * bool(found.added)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xent-rescore",
        description="Compute every metric of finished runs again from their stored predictions; "
        "compare with what was logged, and add what is new. Of a single run, show all of them.",
        epilog="Exit codes: 0 done, 1 a number is not as logged, 2 bad usage, 3 unreadable runs.",
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
