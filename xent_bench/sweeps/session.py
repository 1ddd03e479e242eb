"""What the parts of a sweep that Hydra builds one by one know of each other."""

from typing import TYPE_CHECKING

from hydra.types import HydraContext

if TYPE_CHECKING:
    from xent_bench.sweeps.console import Console


def console_of(context: HydraContext) -> "Console":
    """The callback that has made the plan and counts what becomes of it."""
    from xent_bench.sweeps.console import Console  # which imports the plugins

    return next(each for each in context.callbacks.callbacks if isinstance(each, Console))
