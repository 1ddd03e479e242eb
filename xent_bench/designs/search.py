"""The runs of a search: for each loss and setting, a number of points of the same space."""

from xent_bench.designs.dimensions import Space
from xent_bench.designs.grid import Factor, factors, grid_size, listed
from xent_bench.designs.sobol import sobol_points
from xent_bench.designs.space import is_searched, space_of
from xent_bench.designs.swept import Sweep


def spaces_of(sweep: Sweep) -> dict[str, Space]:
    """The space of each loss, by its name."""
    return {loss: space_of(sweep, loss) for loss in sweep.losses}


def number_of_runs(sweep: Sweep, trials: int) -> int:
    """The number of runs of a search, counted without listing them."""
    return sum(
        trials * grid_size([swept for swept in sweep.of(loss) if not is_searched(swept)])
        for loss in sweep.losses
    )


def combinations(sweep: Sweep, trials: int, sampler_seed: int) -> list[list[str]]:
    """The overrides of each run of a search, in the order of Hydra's own sweeps.

    Each loss has `trials` points in each setting. They stand where the first searched key was
    typed. ConfigError where the space of a loss has fewer points.
    """
    place = min(swept.place for swept in sweep.keys if is_searched(swept))
    factors_of = {}
    for loss, space in spaces_of(sweep).items():
        points = sobol_points(space, trials, sampler_seed)
        others = [swept for swept in sweep.of(loss) if not is_searched(swept)]
        factors_of[loss] = [*factors(others), Factor(place, points)]
    return listed(sweep, factors_of)
