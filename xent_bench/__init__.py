"""A comparison of losses for image classifiers: accuracy and trust in their probabilities.

    import xent_bench as xb

    xb.loss("focal", gamma=2)(logits, target).mean().backward()
    xb.score(logits, target)["ece"]
    xb.read_runs("runs")  # a pandas DataFrame
    xb.compare("runs")  # which loss is better, in a notebook with its tables

Each name is imported when it is first used, so that this import takes a few milliseconds. The names
in `__all__` are stable; those of the modules below the package are not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xent_bench.api.compared import Report, compare
    from xent_bench.api.diagrams import reliability
    from xent_bench.api.losses import Loss, loss, loss_names
    from xent_bench.api.run_frames import read_runs
    from xent_bench.api.scores import score
    from xent_bench.api.stored import load, predictions
    from xent_bench.api.temperatures import FittedTemperature, fit_temperature

__all__ = [
    "FittedTemperature",
    "Loss",
    "Report",
    "compare",
    "fit_temperature",
    "load",
    "loss",
    "loss_names",
    "predictions",
    "read_runs",
    "reliability",
    "score",
]

_MODULES = {
    "compared": ("Report", "compare"),
    "diagrams": ("reliability",),
    "losses": ("Loss", "loss", "loss_names"),
    "run_frames": ("read_runs",),
    "scores": ("score",),
    "stored": ("load", "predictions"),
    "temperatures": ("FittedTemperature", "fit_temperature"),
}
_HOMES = {name: f"xent_bench.api.{module}" for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:  # a type checker shall report a name that is not there

    def __getattr__(name: str) -> Any:
        """Import a name of the surface at its first use."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
