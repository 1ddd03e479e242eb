"""The registration of our sweeper and our launchers with Hydra."""

import sys
from importlib import import_module
from types import ModuleType

from hydra.core.plugins import Plugins
from hydra.plugins.plugin import Plugin
from omegaconf import DictConfig

from xent_bench.sweeps.processes import Processes
from xent_bench.sweeps.sweeper import MissingRuns

PLACE = "hydra_plugins"  # Hydra accepts as plugins only what is below this package


def register_plugins(config: DictConfig) -> None:
    """Register our sweeper and launcher with Hydra, in a module that is made in memory.

    Hydra does not find the plugins of an editable install by itself.
    """
    try:
        package = import_module(PLACE)  # there if other plugins are installed
    except ModuleNotFoundError:
        package = sys.modules[PLACE] = ModuleType(PLACE)
    ours = ModuleType(f"{PLACE}.xent_bench")
    setattr(package, "xent_bench", ours)  # noqa: B010  untyped
    sys.modules[ours.__name__] = ours
    for plugin in _plugins(config.hydra.launcher._target_):
        plugin.__module__ = ours.__name__
        setattr(ours, plugin.__name__, plugin)
        Plugins.instance().register(plugin)


def _plugins(launcher: str) -> list[type[Plugin]]:
    """The sweeper and a launcher; SLURM's only where it is chosen, since it needs an extra."""
    if launcher != f"{PLACE}.xent_bench.Slurm":
        return [MissingRuns, Processes]
    from xent_bench.sweeps.slurm import Slurm
    from xent_bench.sweeps.slurm_queue import job_states

    job_states()  # fails at once where there is no SLURM
    return [MissingRuns, Slurm]
