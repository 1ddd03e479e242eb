"""The runs that a sweep consists of, as lists of overrides, before the first of them starts."""

from collections.abc import Iterator

from omegaconf import DictConfig

from xent_bench.config.configure import ConfigError
from xent_bench.config.explain import run_at_fault
from xent_bench.config.schema import Sampler
from xent_bench.designs.dimensions import Space
from xent_bench.designs.grid import grid, grid_size
from xent_bench.sweeps.composer import Composer
from xent_bench.sweeps.typed_sweep import typed_sweep


def combinations_of(config: DictConfig) -> list[list[str]] | None:
    """Expand a sweep, as Hydra does, to the overrides of each of its runs.

    With trials=N, hyper-parameters are searched: each loss has N points in the place of all
    combinations. None for another sweeper, which chooses as it goes: its runs are checked when they
    start. ConfigError for more runs than machine.most_runs: they are counted before there is a
    list. With sampler=tpe only the first trials are listed.
    """
    sweep = typed_sweep(config)
    if sweep is None:
        return None
    if config.trials is None:
        check_number_of_runs(sum(grid_size(sweep.of(loss)) for loss in sweep.losses), config)
        return grid(sweep)
    from xent_bench.designs.search import combinations, number_of_runs  # SciPy: 150 ms
    from xent_bench.designs.space import check_search

    check_search(sweep)
    check_number_of_runs(number_of_runs(sweep, config.trials), config)
    trials = config.trials
    if config.sampler is Sampler.tpe:
        from xent_bench.designs.adaptive import batch_after, check_installed

        check_installed()
        trials = batch_after(0, trials)  # the others follow from their scores
    return combinations(sweep, trials, config.sampler_seed)


def spaces_of(config: DictConfig) -> dict[str, Space]:
    """The space of each loss of a search, by the loss's name; empty where there is no search."""
    sweep = typed_sweep(config)
    if sweep is None or config.trials is None:
        return {}
    from xent_bench.designs import search  # SciPy: 150 ms

    return search.spaces_of(sweep)


def check_number_of_runs(runs: int, config: DictConfig) -> None:
    """ConfigError for more runs than machine.most_runs."""
    if runs > config.machine.most_runs:
        raise ConfigError(
            "machine.most_runs",
            f"the sweep has {runs:,} runs, expected at most {config.machine.most_runs:,}; "
            f"machine.most_runs={runs} allows them",
        )


def composed(composer: Composer, combinations: list[list[str]]) -> Iterator[tuple[int, DictConfig]]:
    """Yield each combination's index and config, in an order that meets a mistake soon."""
    for index in _novel_first(combinations):
        with run_at_fault(combinations[index]):
            run_config = composer.config(combinations[index])
        yield index, run_config


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
