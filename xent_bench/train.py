"""xent-train: a Hydra application. Nothing heavy is imported before something is to be trained."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from xent_bench import garbage
from xent_bench.calibrators import PREFIXES
from xent_bench.command import command_of
from xent_bench.configure import ConfigError, check_top_level, checked
from xent_bench.explain import CONFIG_ERRORS, refuse
from xent_bench.failures import DataError
from xent_bench.preemption import EXIT_CODE, Notice, Preempted, raise_when_told
from xent_bench.refusal import leaving_nothing, missing_folders
from xent_bench.run_files import LOCK, has_result, is_pending, load_result
from xent_bench.schema import CONF, lacks_weights, register_schema, run_folder
from xent_bench.tracking.pending import set_pending

LOCK_PATIENCE = 1.0  # seconds: a reader that asks whether a run still runs takes its lock too


def main() -> None:
    """The console script: an error of the user's is one line and an exit code, not a traceback."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would have printed at length
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it says what it then raises
    garbage.pause()
    raise_when_told()
    register_schema()
    # Hydra copies its store, which it only reads, for every group of --help: half its time
    setattr(ConfigStore, "__deepcopy__", lambda store, _: store)  # noqa: B010  not declared there
    try:
        _app()
    except CONFIG_ERRORS as error:  # the Console has caught what a run raises
        refuse(error)
    except ValueError as error:
        if "Config group override must be" not in str(error):  # Hydra's, of loss=null
            raise
        refuse(ConfigError("a group", "expected the name of a choice, such as loss=focal"))
    except OSError as error:
        refuse(error)
    except (KeyboardInterrupt, Preempted) as told:
        by_hand = isinstance(told, KeyboardInterrupt)
        print(f"{'Interrupted' if by_hand else 'Preempted'}. The same command goes on from here.")
        sys.exit(130 if by_hand else EXIT_CODE)  # 130: the shell's own for it


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def _app(config: DictConfig) -> dict[str, Any]:
    hydra_config = HydraConfig.get()
    return run(config, command_of(hydra_config, hydra_config.overrides.task))


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
                from xent_bench.attempt import attempt  # seconds of imports

                with Notice("\nSaved after this step; Ctrl-C again ends it at once.\n") as notice:
                    attempt(config, folder, command, notice)
    loaded = load_result(folder)
    if f"{PREFIXES[config.calibrator.name]}/top1" not in loaded["metrics"]:
        from xent_bench.rescore import rescore  # done before, with another calibrator

        chosen, offline = config.calibrator.name, config.machine.offline
        if rescore(folder, [chosen], offline=offline).changed:
            raise DataError(f"the result in {folder} does not follow from its predictions")
        loaded = load_result(folder)
    if lacks_weights(config):
        from xent_bench.checkpoint import save_weights  # done before, without them

        set_pending(folder)
        save_weights(folder)
    if done_before and is_pending(folder) and not config.machine.offline:
        from xent_bench.sync import bring  # MLflow takes seconds

        bring(folder, config.machine.tracking)
    return loaded


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
