"""xent-train: a Hydra application. It imports nothing heavy until there is something to train."""

import logging
import os
import sys
from functools import partial
from typing import Any

import hydra
from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from xent_bench.config.configure import ConfigError, check_sources
from xent_bench.config.explain import CONFIG_ERRORS, refuse
from xent_bench.config.identity import command_of
from xent_bench.config.schema import CONF, register_schema
from xent_bench.exit_codes import Exit
from xent_bench.process import garbage
from xent_bench.process.lost_output import outlive_output
from xent_bench.process.signals import Preempted, raise_on_signal
from xent_bench.process.streams import replace_what_cannot_be_shown
from xent_bench.sweeps.lines import say


def main() -> None:
    """Run the command. A user's error ends it with one line and an exit code, not a traceback."""
    replace_what_cannot_be_shown()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print at length
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it logs what it then raises
    garbage.pause()
    outlive_output()
    raise_on_signal()
    register_schema()
    # Hydra copies its store, which it only reads, for each group of --help: half of the time
    setattr(ConfigStore, "__deepcopy__", lambda store, _: store)  # noqa: B010  untyped
    try:
        _app()
    except CONFIG_ERRORS as error:  # of Hydra itself: the Console has caught what a run raises
        refuse(error)
    except ValueError as error:
        if "Config group override must be" not in str(error):  # Hydra's message for loss=null
            raise
        refuse(ConfigError("a group", "expected the name of a choice, such as loss=focal"))
    except OSError as error:
        refuse(error)
    except (KeyboardInterrupt, Preempted) as ending:
        by_hand = isinstance(ending, KeyboardInterrupt)
        print(f"{'Interrupted' if by_hand else 'Preempted'}. The same command goes on from here.")
        sys.exit(Exit.INTERRUPTED if by_hand else Exit.PREEMPTED)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def _app(config: DictConfig) -> dict[str, Any]:
    from xent_bench.training.run import run  # 40 ms of --help

    hydra_config = HydraConfig.get()
    command = command_of(hydra_config, hydra_config.overrides.task)
    if hydra_config.mode is RunMode.MULTIRUN:  # which was checked, and announced, as a whole
        return run(config, command)
    return run(config, command, before_imports=partial(check_and_announce, config, hydra_config))


def check_and_announce(config: DictConfig, hydra_config: HydraConf) -> None:
    """Refuse at once what can be seen without PyTorch; then say what the user waits for."""
    from xent_bench.tracking.reach import refuse_silent_stores  # 50 ms of --help

    check_sources(config)
    refuse_silent_stores([config])
    if swept := hydra_config.sweeper.get("params"):
        say(f"One run of a sweep of {' and '.join(swept)}; -m trains all of it.")
    say("Loading PyTorch ...")
