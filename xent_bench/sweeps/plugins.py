"""Our sweeper and our launchers, made known to Hydra."""

import sys
from importlib import import_module
from types import ModuleType

from hydra.core.plugins import Plugins
from hydra.plugins.plugin import Plugin
from omegaconf import DictConfig

from xent_bench.sweeps.launcher import Processes
from xent_bench.sweeps.sweeper import MissingRuns

PLACE = "hydra_plugins"  # what is not below it, Hydra takes for no plugin


def register_plugins(config: DictConfig) -> None:
    """As modules that are in no file: one that is, a checkout's editable install would not find."""
    try:
        above = import_module(PLACE)  # of whatever other plugins are installed
    except ModuleNotFoundError:
        above = sys.modules[PLACE] = ModuleType(PLACE)
    ours = ModuleType(f"{PLACE}.xent_bench")
    setattr(above, "xent_bench", ours)  # noqa: B010  not declared there
    sys.modules[ours.__name__] = ours
    for plugin in _plugins(config.hydra.launcher._target_):
        plugin.__module__ = ours.__name__
        setattr(ours, plugin.__name__, plugin)
        Plugins.instance().register(plugin)


def _plugins(launcher: str) -> list[type[Plugin]]:
    """With the launcher for SLURM only if it is the one: its imports are those of an extra."""
    if launcher != f"{PLACE}.xent_bench.Slurm":
        return [MissingRuns, Processes]
    from xent_bench.sweeps.slurm import Slurm
    from xent_bench.sweeps.slurm_queue import job_states

    job_states()  # before anything takes time: whether there is a SLURM
    return [MissingRuns, Slurm]
