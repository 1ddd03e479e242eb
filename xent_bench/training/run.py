"""xent-train: a Hydra application. Nothing heavy is imported before something is to be trained."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from xent_bench.config.configure import check_top_level, checked
from xent_bench.config.identity import run_folder
from xent_bench.failures import DataError
from xent_bench.process.signals import Notice
from xent_bench.runs.files import LOCK, RESULT, has_result, set_pending
from xent_bench.runs.lacking import Asked, Lack, lacking
from xent_bench.runs.refusal import leaving_nothing, missing_folders
from xent_bench.runs.result import load_run

LOCK_PATIENCE = 1.0  # seconds: a reader that asks whether a run still runs takes its lock too


def run(config: DictConfig, command: str = "") -> dict[str, Any]:
    """Train what the config says and return its result; if that was done before, return it.

    Done -> its result; begun -> it goes on from its checkpoint; else it starts. `command` is what
    the run's description in MLflow tells a reader to type.
    """
    check_top_level(config)
    folder = run_folder(config)
    done_before = has_result(folder)
    if not done_before:
        config = checked(config)
        made = missing_folders(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder), leaving_nothing(folder, made):
            if not has_result(folder):
                from xent_bench.training.attempt import attempt  # seconds of imports

                with Notice("\nSaved after this step; Ctrl-C again ends it at once.\n") as notice:
                    attempt(config, folder, command, notice)
    machine = config.machine
    # a run that has just been trained has sent itself to MLflow, or said why it could not
    offline = machine.offline or not done_before
    _complete(folder, Asked(config.calibrator.name, machine.save_weights, offline), config)
    return load_run(folder / RESULT).content()


def _complete(folder: Path, asked: Asked, config: DictConfig) -> None:
    """Add what the folder lacks of a run that was finished when less was asked of it."""
    lacks = lacking(folder, asked)
    if Lack.CALIBRATOR in lacks:
        from xent_bench.evaluation.rescore import rescore  # SciPy takes half a second

        if rescore(folder, [asked.calibrator], offline=config.machine.offline).changed:
            raise DataError(f"the result in {folder} does not follow from its predictions")
    if Lack.WEIGHTS in lacks:
        from xent_bench.training.checkpoint_files import save_weights  # PyTorch takes seconds

        set_pending(folder)
        save_weights(folder)
    if Lack.UPLOAD in lacking(folder, asked):  # also of what has just been added
        from xent_bench.tracking.send import send_if_pending

        send_if_pending(folder, config.machine.tracking)


def _held(folder: Path) -> Any:
    """Its lock: of the same command in two windows one trains, and the other says that it waits."""
    from filelock import FileLock, Timeout  # 20 ms of --help

    lock = FileLock(folder / LOCK)
    patience = LOCK_PATIENCE
    while True:
        try:
            held = lock.acquire(timeout=patience)
            if (folder / LOCK).exists():
                return held
            lock.release()
        except Timeout:
            print(f"{folder}: another process trains it; waiting for its end", flush=True)
            patience = -1  # for ever
            continue
        except FileNotFoundError:
            pass
        # the other was refused, and has deleted the folder
        folder.mkdir(parents=True, exist_ok=True)
