"""Sweeps to type next: what each would answer, its command, and its cost."""

import re
import shlex
from collections.abc import Sequence
from math import inf, prod
from typing import NamedTuple

from xent_bench.advice.needs import Needs
from xent_bench.advice.tasks import Task
from xent_bench.advice.typed import own_words, sweep_of, typed
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.sequential import LOOKS
from xent_bench.comparison.stats import LEVEL, seeds_needed
from xent_bench.comparison.trials import number
from xent_bench.comparison.tuning import in_order
from xent_bench.comparison.yardsticks import PRIMARY, Yardstick
from xent_bench.config.design_keys import DECIDING, DEFAULTS
from xent_bench.runs.design import design_of

FIRST = 5  # seeds of a first comparison
FEWEST = 3  # two seeds show next to nothing
FACTORS = (0.3, 1.0, 3.0)  # of a learning rate, to tune over
OF_FILES = {"matrix": "noise.matrix", "file": "noise.labels"}  # kinds of noise without a rate
CONDITIONS = ("noise", "imbalance", "shift")


class Sweep(NamedTuple):
    """A command that trains, what it would answer, and its cost."""

    why: str  # a sentence without its end
    command: str
    runs: int  # that are not at hand
    least: int | None = None  # runs with which it may end, where it ends when it knows
    seconds: float | None = None  # of a run, by the runs at hand; None: no run tells
    exceeds: bool = False  # whether it costs more than the budget, however it is cut


def seeds_word(count: int) -> str:
    """The override of the first seeds: seed=0,1,2 or, of many, seed=range(0,12)."""
    if count <= FIRST:
        return f"seed={','.join(map(str, range(count)))}"
    return f"seed=range(0,{count})"


def condition_words(needs: Needs) -> list[str]:
    """The overrides that make the conditions of the needs."""
    words = []
    if needs.noise_kind in OF_FILES:
        words += [f"noise={needs.noise_kind}", f"{OF_FILES[needs.noise_kind]}=FILE"]
    elif needs.noise:
        words += [f"noise={needs.noise_kind or 'symmetric'}", f"noise.rate={needs.noise:g}"]
    if needs.is_uneven:
        words += ["imbalance=exponential", f"imbalance.ratio={needs.imbalance:g}"]
    return words + scored(needs)


def scored(needs: Needs) -> list[str]:
    """The override that scores runs under shift, if the needs ask for it."""
    return ["shift=all"] * needs.shift


def more_seeds(
    why: str, task: Task, losses: Sequence[str], needs: Needs, by: Yardstick
) -> Sweep | None:
    """The sweep that adds seeds of the baseline and of these losses, within the budget.

    It goes on until it is decided where the metric allows that. None if the runs were typed in a
    way that is not one sweep.
    """
    labels = [needs.baseline, *losses]
    command, names = typed(task.first), [task.typed_loss(label) for label in labels]
    grid = grid_words(task.comparison)
    if command is None or grid is None or None in names:
        return None
    hyper = [word for label in labels for word in own_words(task.runs_of(label))]
    words = [f"loss={','.join(map(str, names))}", *hyper, *grid, *scored(needs)]
    at_hand = [task.seeds_of(label) for label in labels]
    trials = max(row.trials for row in task.comparison.rows)
    if by.key not in DECIDING:
        size = _affordable(at_hand, trials, needs, _enough(task, losses, by))
        return size.sweep(why, command.sweep(*words, seeds_word(size.seeds)), task.seconds)
    if task.design is not None:
        return _rest_of_design(why, command.sweep(*words), losses, at_hand, task, needs)
    least = 0  # a look at the seeds at hand may decide
    if trials > 1:  # the seeds at hand choose the trials, and fresh ones of these decide
        words.append(f"seed={','.join(map(str, task.search_seeds))}")
        first = max(task.search_seeds, default=-1) + 1
        at_hand = [{seed - first for seed in seeds if seed >= first} for seeds in at_hand]
        least = 0 if all(at_hand) else FEWEST * len(labels)
    size = _affordable(at_hand, 1, needs)
    words += until_words(by, needs, size.seeds)
    return size.sweep(why, command.sweep(*words), task.seconds, least)


def _rest_of_design(
    why: str,
    command: str,
    losses: Sequence[str],
    at_hand: Sequence[set[int]],
    task: Task,
    needs: Needs,
) -> Sweep | None:
    """The sweep that goes on with the design of a task, not cut to a budget.

    With other looks it would be another design. None where its seeds are spent, where it has
    decided on all these losses, or where a search came before, whose seeds no run tells.
    """
    course = task.comparison.sequential
    assert course is not None
    design = course.design
    if not any(course.decisions[loss].is_open for loss in losses if loss in course.decisions):
        return None
    runs = sum(max(0, design.max_seeds - len(seeds)) for seeds in at_hand)
    if task.comparison.is_tuned or not runs or design.primary != task.contrasts[0].yardstick.key:
        return None
    own_baseline = needs._replace(baseline=design.baseline)
    words = until_words(task.contrasts[0].yardstick, own_baseline, design.max_seeds)
    exceeds = needs.budget is not None and runs > needs.budget
    return Sweep(why, shlex.join([*shlex.split(command), *words]), runs, 0, task.seconds, exceeds)


class Size(NamedTuple):
    """The size of a sweep: seeds of each loss, runs that are not at hand."""

    seeds: int
    runs: int
    exceeds: bool  # whether that is more than the budget

    def sweep(
        self, why: str, command: str, seconds: float | None, least: int | None = None
    ) -> Sweep:
        """The sweep of this size."""
        return Sweep(why, command, self.runs, least, seconds, self.exceeds)


def _affordable(
    at_hand: Sequence[set[int]], trials: int, needs: Needs, most: int = LOOKS[-1]
) -> Size:
    """The largest size that the budget allows, or the smallest one, which exceeds it.

    `at_hand` are the seeds that each loss has, and `most` is a number of seeds that is enough.
    """
    fewest = min(map(len, at_hand))
    more = [seeds for seeds in LOOKS if seeds > fewest] or [2 * fewest]
    sizes = [seeds for seeds in more if seeds <= most] or more[:1]
    costs = {
        seeds: trials * sum(len(set(range(seeds)) - of_loss) for of_loss in at_hand)
        for seeds in sizes
    }
    allowed = [seeds for seeds in sizes if needs.budget is None or costs[seeds] <= needs.budget]
    seeds = max(allowed, default=sizes[0])
    return Size(seeds, costs[seeds], not allowed)


def _enough(task: Task, losses: Sequence[str], by: Yardstick) -> int:
    """Seeds that show a difference as large as a tie's margin, by the spread of the runs at hand.

    They are one of LOOKS; the last of these where the spread is unknown or more would be needed.
    """
    spreads = [c.difference.spread for c in task.contrasts if c.label in losses]
    widest = max((spread for spread in spreads if spread), default=0.0)
    needed = seeds_needed(by.tie, widest, LEVEL / max(1, len(task.contrasts))) if widest else None
    return next((seeds for seeds in LOOKS if needed and seeds >= needed), LOOKS[-1])


def until_words(by: Yardstick, needs: Needs, most: int) -> list[str]:
    """The overrides of a sweep that goes on until it is decided; defaults are left out."""
    words = ["until=decided"]
    words += [f"primary={by.key}"] * (by.key != PRIMARY)
    words += [f"baseline={needs.baseline}"] * (needs.baseline != DEFAULTS["baseline"])
    return words + [f"max_seeds={most}"] * (most != DEFAULTS["max_seeds"])


def further_losses(why: str, task: Task, losses: Sequence[str], needs: Needs) -> Sweep | None:
    """The sweep of losses of conf/loss that a task lacks, as many as the budget allows.

    It has the seeds of the baseline, or of all losses where the baseline is lacking.
    """
    command, grid = typed(task.first), grid_words(task.comparison)
    if command is None or grid is None or not losses:
        return None
    of_all = set().union(*map(task.seeds_of, task.labels))
    seeds = sorted(task.seeds_of(needs.baseline) or of_all) or list(range(FEWEST))
    fresh = 0
    if task.comparison.is_tuned:
        seeds, fresh = task.search_seeds or seeds, task.confirmed
    of_one = len(seeds) * prod(len(word.split(",")) for word in grid) + fresh
    kept = list(losses)
    if needs.budget is not None:
        kept = kept[: max(1, needs.budget // of_one)]
    words = [f"loss={','.join(kept)}", *grid, *scored(needs)]
    words += [f"seed={','.join(map(str, seeds))}", *[f"confirm={fresh}"] * bool(fresh)]
    runs = of_one * len(kept)
    exceeds = needs.budget is not None and runs > needs.budget
    return Sweep(why, command.sweep(*words), runs, None, task.seconds, exceeds)


class Wanted(NamedTuple):
    """A comparison at the conditions of the needs: its losses, the metric, and the setting."""

    losses: Sequence[str]  # the baseline first
    by: Yardstick
    setting: Sequence[str]  # overrides of data and net, where no run shows them


def at_conditions(why: str, task: Task | None, wanted: Wanted, needs: Needs) -> Sweep:
    """The sweep at the conditions of the needs.

    It has the setting of a task, except its conditions; or that of `wanted`, where there is no
    task, or its setting cannot be typed.
    """
    losses = list(wanted.losses)
    if needs.budget is not None:
        losses = losses[: max(2, needs.budget // FIRST)]
    none_at_hand: list[set[int]] = [set() for _ in losses]
    words = [f"loss={','.join(losses)}", *condition_words(needs)]
    if wanted.by.key in DECIDING:
        size, least = _affordable(none_at_hand, 1, needs), FEWEST * len(losses)
        words += until_words(wanted.by, needs, size.seeds)
    else:
        runs = FIRST * len(losses)
        size, least = Size(FIRST, runs, needs.budget is not None and runs > needs.budget), None
        words.append(seeds_word(FIRST))
    command = None if task is None else typed(task.first)
    # the file of an experiment may sweep over conditions by itself
    if task is None or command is None or command.has("experiment"):
        return size.sweep(why, sweep_of([*wanted.setting, *words]), None, least)
    return size.sweep(why, command.sweep(*words, without=CONDITIONS), task.seconds, least)


def tuning(why: str, task: Task, labels: Sequence[str], needs: Needs) -> Sweep | None:
    """The sweep that tunes the learning rate of these losses, under a name of its own.

    Beside the runs at hand it would give these losses more trials than others, which would no
    longer be ranked. None where that is beyond the budget, where runs have no learning rate, and
    where they were typed in a way that is not one sweep.
    """
    command, rate = typed(task.first), number(str(task.first.params.get("optimizer.lr")))
    names = [task.typed_loss(label) for label in labels]
    name = task.first.experiment
    if command is None or None in names or not re.fullmatch(r"[\w.-]+", name):
        return None
    if rate is None or not 0 < rate < inf:
        return None
    hyper = [word for label in labels for word in own_words(task.runs_of(label))]
    rates = ",".join(f"{factor * rate:.3g}" for factor in FACTORS)
    seeds = max(FEWEST, min(FIRST, len(task.seeds_of(labels[0]))))
    words = [f"loss={','.join(map(str, names))}", *hyper, f"optimizer.lr={rates}"]
    words += [*scored(needs), seeds_word(seeds), f"name={name}_tuned"]
    runs = len(FACTORS) * seeds * len(labels)
    if needs.budget is not None and runs > needs.budget:
        return None
    return Sweep(why, command.sweep(*words), runs, None, task.seconds)


def under_shift(why: str, task: Task) -> Sweep | None:
    """The sweep that scores the runs of a task under shift, for which none is trained."""
    command, grid = typed(task.first), grid_words(task.comparison)
    names = [task.typed_loss(label) for label in task.labels]
    if command is None or grid is None or None in names:
        return None
    hyper = [word for label in task.labels for word in own_words(task.runs_of(label))]
    seeds = sorted(set().union(*map(task.seeds_of, task.labels)))
    words = [f"loss={','.join(map(str, names))}", *hyper, *grid]
    words += [f"seed={','.join(map(str, seeds))}", "shift=all"]
    return Sweep(why, command.sweep(*words), 0)


def grid_words(comparison: Comparison) -> list[str] | None:
    """The hyper-parameters that all losses were tuned over, as overrides; empty if there are none.

    None if their values are no grid, so that one sweep cannot have them all, or if a search drew
    them: its space is not known from its points.
    """
    designs = [design_of(run.tags) for run in comparison.runs]
    if any(design.is_search or design.rungs > 1 for design in designs):
        return None
    points = [trial.shared for row in comparison.rows for trial in row.choice.candidates]
    keys = dict.fromkeys(key for point in points for key in point)
    values = {key: in_order(point[key] for point in points if key in point) for key in keys}
    distinct = {tuple(sorted(point.items())) for point in points}
    is_grid = all(point.keys() == keys.keys() for point in points)
    if not is_grid or (keys and len(distinct) != prod(map(len, values.values()))):
        return None
    return [f"{key}={','.join(tried)}" for key, tried in values.items()]
