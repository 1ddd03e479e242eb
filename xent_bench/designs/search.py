"""The runs of a search: for each loss and setting, a number of points of the same space."""

from itertools import product
from typing import NamedTuple

from xent_bench.designs.dimensions import Point, Space
from xent_bench.designs.grid import Factor, as_typed, factors, grid_size, listed
from xent_bench.designs.sobol import sobol_points
from xent_bench.designs.space import is_searched, may_be_tuned, space_of
from xent_bench.designs.swept import LOSS, SEED, Sweep, Swept


class Search(NamedTuple):
    """The trials of one loss in one setting: each point with each seed is a run."""

    space: Space  # without dimensions where the points are a grid
    loss: str  # word: loss=focal; empty if no loss was typed
    setting: tuple[str, ...]  # words of the keys that are not tuned: data=digits
    fixed: tuple[str, ...]  # words of hyper-parameters with one value: optimizer.weight_decay=0.1
    points: list[Point]  # words of the other hyper-parameters, in the order of the search
    seeds: tuple[str, ...]  # words: seed=0; none if no seed was typed
    places: dict[str, int]  # of the keys in the command

    def overrides(self, point: Point, seed: str = "") -> list[str]:
        """The overrides of a run, in the order in which their keys were typed.

        `seed` is a word such as seed=3, which need not be one of the search.
        """
        words = (self.loss, *self.setting, *self.fixed, *point, seed)
        return as_typed([word for word in words if word], self.places)


def searches(sweep: Sweep, trials: int | None, sampler_seed: int) -> list[Search]:
    """The searches of a sweep, by loss and then by setting.

    Each has `trials` points; if that is None, every combination of the values of the
    hyper-parameters. ConfigError where a space has fewer points.
    """
    return [
        search
        for loss in sweep.losses
        for search in _searches_of(sweep, loss, trials, sampler_seed)
    ]


def number_of_runs(sweep: Sweep, trials: int) -> int:
    """The number of runs of a search, counted without listing them."""
    return sum(
        trials * grid_size([swept for swept in sweep.of(loss) if not is_searched(swept)])
        for loss in sweep.losses
    )


def combinations(sweep: Sweep, trials: int, sampler_seed: int) -> list[list[str]]:
    """The overrides of each run of a search, in the order of Hydra's own sweeps.

    The points stand where the first searched key was typed.
    """
    place = min(swept.place for swept in sweep.keys if is_searched(swept))
    factors_of = {}
    for loss in sweep.losses:
        points = sobol_points(space_of(sweep, loss), trials, sampler_seed)
        listed_keys = [swept for swept in sweep.of(loss) if not is_searched(swept)]
        factors_of[loss] = [*factors(listed_keys), Factor(place, points)]
    return listed(sweep, factors_of)


def _searches_of(sweep: Sweep, loss: str, trials: int | None, sampler_seed: int) -> list[Search]:
    keys = [swept for swept in sweep.of(loss) if swept.key not in (LOSS, SEED)]
    tuned = [swept for swept in keys if is_searched(swept)]
    hyper = [swept for swept in keys if may_be_tuned(swept.name) and swept not in tuned]
    setting = [swept for swept in keys if not may_be_tuned(swept.name)]
    if trials is None:
        space, points = Space(loss, (), ()), _grid(tuned)
    else:
        space = space_of(sweep, loss)
        points = sobol_points(space, trials, sampler_seed)
    seeds = [word for swept in sweep.of(loss) if swept.key == SEED for word in swept.words()]
    (fixed,) = _grid(hyper)
    return [
        Search(space, sweep.losses[loss], words, fixed, points, tuple(seeds), sweep.places(loss))
        for words in _grid(setting)
    ]


def _grid(keys: list[Swept]) -> list[Point]:
    """Every combination of the values of some keys; one empty combination of no key."""
    return list(product(*(swept.words() for swept in keys)))
