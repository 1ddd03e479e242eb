"""xent-train: a Hydra application. It imports nothing heavy until there is something to train."""

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

from xent_bench.config.command_line import flags_first
from xent_bench.config.completion import is_completed
from xent_bench.config.configure import ConfigError, check_sources
from xent_bench.config.design_keys import design_tag
from xent_bench.config.explain import composition_error, refuse
from xent_bench.config.files import register_files
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
    garbage.pause()
    outlive_output()
    raise_on_signal()
    register_schema()
    # Hydra copies its store, which it only reads, for each group of --help: half of the time
    setattr(ConfigStore, "__deepcopy__", lambda store, _: store)  # noqa: B010  untyped
    register_files()
    try:
        sys.argv[1:] = flags_first(sys.argv[1:])
        if not is_completed(sys.argv[1:]):
            _app()
    except (KeyboardInterrupt, Preempted) as ending:
        by_hand = isinstance(ending, KeyboardInterrupt)
        print(f"{'Interrupted' if by_hand else 'Preempted'}. The same command goes on from here.")
        sys.exit(Exit.INTERRUPTED if by_hand else Exit.PREEMPTED)
    except Exception as error:  # of Hydra itself: the Console has caught what a run raises
        cause = composition_error(error)
        if cause is None:
            raise
        refuse(cause)
    except SystemExit as end:
        # Hydra has said that there is no such --package, by a code that is that of a bug here
        sys.exit(Exit.USAGE if end.code == 1 and "--package" in " ".join(sys.argv) else end.code)


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
    swept = hydra_config.sweeper.get("params")
    if swept and not isinstance(swept, DictConfig):
        raise ConfigError("hydra.sweeper.params", f"expected lines of key: values, got {swept!r}")
    if swept:
        say(f"One run of a sweep of {' and '.join(map(str, swept))}; -m trains all of it.")
    elif design_tag(config):
        say("One run of a sweep with a design; -m trains all of it.")
    say("Loading PyTorch ...")
