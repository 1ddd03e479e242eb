"""xent-train: a Hydra application. Nothing heavy is imported before something is to be trained."""

import logging
import os
import sys
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from xent_bench.config.configure import ConfigError
from xent_bench.config.explain import CONFIG_ERRORS, refuse
from xent_bench.config.identity import command_of
from xent_bench.config.schema import CONF, register_schema
from xent_bench.process import garbage
from xent_bench.process.signals import EXIT_PREEMPTED, Preempted, raise_on_signal
from xent_bench.training.run import run


def main() -> None:
    """The console script: an error of the user's is one line and an exit code, not a traceback."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would have printed at length
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it says what it then raises
    garbage.pause()
    raise_on_signal()
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
        sys.exit(130 if by_hand else EXIT_PREEMPTED)  # 130: the shell's own for it


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def _app(config: DictConfig) -> dict[str, Any]:
    hydra_config = HydraConfig.get()
    return run(config, command_of(hydra_config, hydra_config.overrides.task))
