"""The space of a search: which of the swept keys are tuned, and between which values."""

import math

from hydra.core.override_parser.types import IntervalSweep

from xent_bench.config.configure import ConfigError
from xent_bench.config.nearest import nearest
from xent_bench.designs.cells import is_tuned
from xent_bench.designs.dimensions import Choices, Dimension, Interval, Space
from xent_bench.designs.sobol import DIMENSIONS, EXAMPLE
from xent_bench.designs.swept import Sweep, Swept

LOG = "log"  # the tag of an interval
MOST_VALUES = 10_000  # of a list to choose from


def is_searched(swept: Swept) -> bool:
    """Whether a search chooses among the values of a key; one value is no choice."""
    return (swept.is_interval or swept.number() > 1) and is_tuned(swept.name)


def check_intervals(sweep: Sweep, trials: int | None) -> None:
    """ConfigError for an interval that cannot be searched."""
    for swept in sweep.keys:
        if swept.is_interval:
            _check_interval(swept, trials)


def check_search(sweep: Sweep) -> None:
    """ConfigError for a search of nothing, of too many keys, or among too many values."""
    searched = [swept for swept in sweep.keys if is_searched(swept)]
    if not searched:
        raise ConfigError("trials", f"there is nothing to search; expected as in {EXAMPLE}")
    for swept in searched:
        if swept.number() > MOST_VALUES:
            raise ConfigError(
                swept.typed,
                f"expected at most {MOST_VALUES:,} values to choose from, got {swept.number():,}; "
                "an interval has any number",
            )
    for loss in sweep.losses:
        keys = [swept.typed for swept in sweep.of(loss) if is_searched(swept)]
        if len(keys) > DIMENSIONS:
            raise ConfigError(
                keys[-1],
                f"expected at most {DIMENSIONS} keys to search, got {len(keys)} for loss={loss}; "
                "type one value for the others",
            )


def space_of(sweep: Sweep, loss: str) -> Space:
    """The space of one loss: the keys that all losses share, and its own, sorted by name."""
    searched = sorted((s for s in sweep.of(loss) if is_searched(s)), key=lambda swept: swept.name)
    shared = tuple(_dimension(swept) for swept in searched if not swept.name.startswith("loss."))
    of_loss = tuple(_dimension(swept) for swept in searched if swept.name.startswith("loss."))
    return Space(loss, shared, of_loss)


def _dimension(swept: Swept) -> Dimension:
    value = swept.override.value()
    if isinstance(value, IntervalSweep):
        low, high = _bounds(value)
        return Interval(swept.key, low, high, LOG in value.tags, isinstance(low, int))
    return Choices(swept.key, swept.different_values())


def _check_interval(swept: Swept, trials: int | None) -> None:
    key, value = swept.typed, swept.override.value()
    assert isinstance(value, IntervalSweep)
    low, high = _bounds(value)
    got = f"got interval({low},{high})"
    if not is_tuned(swept.name):
        complaint = "is not tuned, as optimizer.lr is, so an interval says nothing here"
        raise ConfigError(key, f"{complaint}; expected values: {key}=A,B")
    if trials is None:
        complaint = "an interval needs a number of points to try, as in trials=16"
        raise ConfigError(key, f"{complaint}; or values: {key}=A,B")
    for tag in sorted(value.tags - {LOG}):
        raise ConfigError(key, f"no such tag of an interval: {tag}; {nearest(tag, [LOG])}")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(key, f"expected finite bounds, {got}")
    if low >= high:
        complaint = "expected the smaller bound first" if low > high else "expected two bounds"
        raise ConfigError(key, f"{complaint}, {got}; or one value: {key}={high}")
    if LOG in value.tags and low <= 0:
        larger = f"{high / 1000:g}" if high > 0 else "1e-4"
        example = f"tag(log,interval({larger},{high if high > 0 else 1}))"
        complaint = f"log needs bounds above 0, {got}"
        raise ConfigError(key, f"{complaint}; expected as in '{key}={example}', or no tag")


def _bounds(value: IntervalSweep) -> tuple[float, float]:
    assert value.start is not None
    assert value.end is not None
    return value.start, value.end
