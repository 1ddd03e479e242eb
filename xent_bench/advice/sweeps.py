"""Sweeps to type next: what each would answer, its command, and its cost."""

from collections.abc import Sequence
from math import inf, prod
from typing import NamedTuple

from xent_bench.advice.needs import Needs
from xent_bench.advice.tasks import Task
from xent_bench.advice.typed import own_words, sweep_of, typed
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.trials import number
from xent_bench.comparison.tuning import in_order
from xent_bench.comparison.yardsticks import PRIMARY, Yardstick
from xent_bench.config.design_keys import DECIDING, DEFAULTS

LOOKS = (3, 5, 8, 12, 18, 30)  # numbers of seeds after which a sweep until=decided looks
FIRST = 5  # seeds of a first comparison
FEWEST = 3  # two seeds show next to nothing
FACTORS = (0.3, 1.0, 3.0)  # of a learning rate, to tune over
CONDITIONS = ("noise", "imbalance", "shift")


class Sweep(NamedTuple):
    """A command that trains, what it would answer, and its cost."""

    why: str  # a sentence without its end
    command: str
    runs: int  # that are not at hand
    is_most: bool = False  # whether it may end with fewer
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
    if needs.noise:
        words += [f"noise={needs.noise_kind or 'symmetric'}", f"noise.rate={needs.noise:g}"]
    if needs.is_uneven:
        words += ["imbalance=exponential", f"imbalance.ratio={needs.imbalance:g}"]
    return words + ["shift=all"] * needs.shift


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
    words = [f"loss={','.join(map(str, names))}", *hyper, *grid]
    at_hand = [task.seeds_of(label) for label in labels]
    trials = max(row.trials for row in task.comparison.rows)
    if by.key not in DECIDING:
        most, runs, exceeds = _affordable(at_hand, trials, needs)
        return Sweep(
            why, command.sweep(*words, seeds_word(most)), runs, False, task.seconds, exceeds
        )
    if trials > 1:  # the seeds at hand choose the trials, and fresh ones of these decide
        words.append(f"seed={','.join(map(str, sorted(set().union(*at_hand))))}")
        at_hand = [set() for _ in labels]
    most, runs, exceeds = _affordable(at_hand, 1, needs)
    words += until_words(by, needs, most)
    return Sweep(why, command.sweep(*words), runs, True, task.seconds, exceeds)


def _affordable(at_hand: Sequence[set[int]], trials: int, needs: Needs) -> tuple[int, int, bool]:
    """The largest number of seeds that the budget allows, its runs, and whether they exceed it.

    Of several sizes that exceed the budget it is the smallest.
    """
    fewest = min(map(len, at_hand))
    sizes = [size for size in LOOKS if size > fewest] or [2 * fewest]
    costs = {
        size: trials * sum(len(set(range(size)) - seeds) for seeds in at_hand) for size in sizes
    }
    most = max(
        (size for size in sizes if needs.budget is None or costs[size] <= needs.budget),
        default=sizes[0],
    )
    return most, costs[most], needs.budget is not None and costs[most] > needs.budget


def until_words(by: Yardstick, needs: Needs, most: int) -> list[str]:
    """The overrides of a sweep that goes on until it is decided; defaults are left out."""
    words = ["until=decided"]
    words += [f"primary={by.key}"] * (by.key != PRIMARY)
    words += [f"baseline={needs.baseline}"] * (needs.baseline != DEFAULTS["baseline"])
    return words + [f"max_seeds={most}"] * (most != DEFAULTS["max_seeds"])


def further_losses(why: str, task: Task, losses: Sequence[str], needs: Needs) -> Sweep | None:
    """The sweep of losses of conf/loss that a task lacks, with the baseline's seeds.

    As many of them as the budget allows, the first first.
    """
    command, grid = typed(task.first), grid_words(task.comparison)
    if command is None or grid is None or not losses:
        return None
    seeds = sorted(task.seeds_of(needs.baseline)) or list(range(FEWEST))
    of_one = len(seeds) * prod(len(word.split(",")) for word in grid)
    kept = list(losses)
    if needs.budget is not None:
        kept = kept[: max(1, needs.budget // of_one)]
    words = [f"loss={','.join(kept)}", *grid, f"seed={','.join(map(str, seeds))}"]
    runs = of_one * len(kept)
    exceeds = needs.budget is not None and runs > needs.budget
    return Sweep(why, command.sweep(*words), runs, False, task.seconds, exceeds)


def at_conditions(
    why: str, task: Task | None, losses: Sequence[str], needs: Needs, setting: Sequence[str]
) -> Sweep:
    """The sweep at the conditions of the needs.

    It has the setting of a task, except its conditions; or, without a task whose setting can be
    typed, `setting`: overrides of data and net.
    """
    seeds, kept = FIRST, list(losses)
    if needs.budget is not None:
        seeds = max(FEWEST, min(FIRST, needs.budget // len(losses)))
        kept = kept[: max(2, needs.budget // seeds)]
    words = [f"loss={','.join(kept)}", *condition_words(needs), seeds_word(seeds)]
    runs = seeds * len(kept)
    exceeds = needs.budget is not None and runs > needs.budget
    command = None if task is None else typed(task.first)
    # the file of an experiment may sweep over conditions by itself
    if task is None or command is None or command.has("experiment"):
        return Sweep(why, sweep_of([*setting, *words]), runs, exceeds=exceeds)
    return Sweep(why, command.sweep(*words, without=CONDITIONS), runs, False, task.seconds, exceeds)


def tuning(why: str, task: Task, losses: Sequence[str], needs: Needs) -> Sweep | None:
    """The sweep that tunes the learning rate of the baseline and of these losses.

    None where runs have no learning rate, or losses with values of their own.
    """
    command, rate = typed(task.first), number(str(task.first.params.get("optimizer.lr")))
    labels = [needs.baseline, *losses]
    names = [task.typed_loss(label) or label for label in labels]
    if command is None or rate is None or not 0 < rate < inf or len(labels) < 2:
        return None
    hyper = [word for label in labels for word in own_words(task.runs_of(label))]
    rates = ",".join(f"{factor * rate:.3g}" for factor in FACTORS)
    seeds = max(FEWEST, len(task.seeds_of(needs.baseline)))
    words = [f"loss={','.join(names)}", *hyper, f"optimizer.lr={rates}", seeds_word(seeds)]
    at_hand = sum(len(task.seeds_of(label) & set(range(seeds))) for label in labels)
    runs = len(FACTORS) * seeds * len(labels) - at_hand
    if needs.budget is not None and runs > needs.budget:
        return None
    return Sweep(why, command.sweep(*words), runs, False, task.seconds)


def grid_words(comparison: Comparison) -> list[str] | None:
    """The hyper-parameters that all losses were tuned over, as overrides; empty if there are none.

    None if their values are no grid, so that one sweep cannot have them all.
    """
    points = [trial.shared for row in comparison.rows for trial in row.choice.candidates]
    keys = dict.fromkeys(key for point in points for key in point)
    values = {key: in_order(point[key] for point in points if key in point) for key in keys}
    distinct = {tuple(sorted(point.items())) for point in points}
    is_grid = all(point.keys() == keys.keys() for point in points)
    if not is_grid or (keys and len(distinct) != prod(map(len, values.values()))):
        return None
    return [f"{key}={','.join(tried)}" for key, tried in values.items()]
