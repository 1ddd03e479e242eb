"""An attempt at a run: what it began with, from where, in how many processes, and why it ended."""

from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from xent_bench.config.identity import run_key, run_name, science
from xent_bench.failures import Unavailable, named, reason
from xent_bench.process.ranks import run_in_ranks
from xent_bench.process.signals import Notice
from xent_bench.runs.begun import Unfinished, keep_reason, save_begun
from xent_bench.runs.files import is_pending
from xent_bench.tracking.reach import tracking_uri
from xent_bench.tracking.send import send
from xent_bench.training.checkpoint_files import last_checkpoint
from xent_bench.training.fit import fit


def attempt(config: DictConfig, folder: Path, command: str, notice: Notice) -> None:
    """Train it, in one process or in several; a failure's reason stays in its folder."""
    known = {"key": run_key(config), "command": command}
    begun = Unfinished(run_name(config), config.experiment, science(config), command, tags=known)
    save_begun(begun, folder)
    try:
        arguments = (config, folder, begun, _newest_checkpoint(folder))
        if config.machine.devices == 1:
            fit(*arguments, notice)
        else:
            run_in_ranks(fit, *arguments, ranks=config.machine.devices, notice=notice)
    except BaseException as error:
        told = named(error)
        with suppress(OSError):  # what went wrong first is what the user must see
            keep_reason(folder, reason(error))
            _conclude(config, folder)
        if told is error:
            raise
        raise told from error


def _conclude(config: DictConfig, folder: Path) -> None:
    """In MLflow, where the process that wrote to it was killed."""
    if config.machine.devices > 1 and is_pending(folder) and not config.machine.offline:
        with suppress(Unavailable, ValueError):
            send(folder, tracking_uri(config.machine.tracking))


def _newest_checkpoint(folder: Path) -> Path | None:
    newest, damaged = last_checkpoint(folder)
    if damaged:
        where = f"from {newest.name}" if newest else "from the start"
        print(f"damaged: {', '.join(map(str, damaged))}; going on {where}", flush=True)
    return newest
