"""The runs that a sweep consists of, as lists of overrides, before the first of them starts."""

from collections.abc import Iterator
from decimal import Decimal
from math import ceil, prod
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep
from omegaconf import DictConfig

from xent_bench.config.configure import ConfigError
from xent_bench.config.explain import CONFIG_ERRORS, composition_error


def combinations_of(config: DictConfig) -> list[list[str]] | None:
    """Expand a sweep, as Hydra does, to the overrides of each of its runs.

    None for another sweeper, which chooses as it goes: its runs are checked when they start.
    ConfigError for more runs than machine.most_runs: they are counted before there is a list.
    """
    sweeper = config.hydra.sweeper
    if not sweeper._target_.endswith((".BasicSweeper", ".MissingRuns")):
        return None
    params: Any = sweeper.params or {}
    if not isinstance(params, DictConfig | dict):
        raise ConfigError("hydra.sweeper.params", f"expected lines of key: values, got {params!r}")
    arguments = [f"{key!s}={value}" for key, value in params.items()]
    arguments += config.hydra.overrides.task
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides(arguments)
    counts = {override.get_key_element(): _values(override) for override in overrides}
    for override in overrides:
        if not counts[override.get_key_element()]:
            raise ConfigError(str(override.input_line), "a sweep over no value, so no run")
    runs = prod(counts.values())
    if runs > config.machine.most_runs:
        raise ConfigError(
            "machine.most_runs",
            f"the sweep has {runs:,} runs, expected at most {config.machine.most_runs:,}; "
            f"machine.most_runs={runs} allows them",
        )
    (combinations,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return combinations


def composed(config: DictConfig, combinations: list[list[str]]) -> Iterator[tuple[int, DictConfig]]:
    """Yield each combination's index and config, in an order that meets a mistake soon."""
    for index in _novel_first(combinations):
        try:
            run_config = compose(config.hydra.job.config_name, combinations[index])
        except CONFIG_ERRORS:
            raise
        except Exception as error:  # Hydra raises anything
            raise composition_error(error) or error from None
        yield index, run_config


def _values(override: Override) -> int:
    """The number of values that an override sweeps over."""
    value = override.value()
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if isinstance(value, Glob):
        return len(list(override.sweep_iterator()))
    if not isinstance(value, RangeSweep):
        return 1
    start, stop, step = (Decimal(str(end)) for end in (value.start, value.stop, value.step))
    if not (start.is_finite() and stop.is_finite() and step.is_finite() and step):
        raise ConfigError(str(override.input_line), "expected range(first,end) or with a step > 0")
    return max(0, ceil((stop - start) / step))


def differing(combinations: list[list[str]]) -> set[str]:
    """The overrides that are not in every combination."""
    sets = [set(combination) for combination in combinations]
    return set().union(*sets) - sets[0].intersection(*sets) if sets else set()


def _novel_first(combinations: list[list[str]]) -> list[int]:
    """Indices of the combinations, first of those with an override that none before them has."""
    seen: set[str] = set()
    novel: list[int] = []
    others: list[int] = []
    for index, combination in enumerate(combinations):
        (others if seen.issuperset(combination) else novel).append(index)
        seen.update(combination)
    return novel + others
