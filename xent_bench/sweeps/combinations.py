"""The runs that a sweep consists of, as lists of overrides, before the first of them starts."""

from collections.abc import Iterator

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig


def combinations_of(config: DictConfig) -> list[list[str]] | None:
    """Expand a sweep, as Hydra does, to the overrides of each of its runs.

    None for another sweeper, which chooses as it goes: its runs are checked when they start.
    """
    sweeper = config.hydra.sweeper
    if not sweeper._target_.endswith((".BasicSweeper", ".MissingRuns")):
        return None
    arguments = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    arguments += config.hydra.overrides.task
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides(arguments)
    (combinations,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return combinations


def composed(config: DictConfig, combinations: list[list[str]]) -> Iterator[tuple[int, DictConfig]]:
    """Yield each combination's index and config, in an order that meets a mistake soon."""
    for index in _novel_first(combinations):
        yield index, compose(config.hydra.job.config_name, combinations[index])


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
