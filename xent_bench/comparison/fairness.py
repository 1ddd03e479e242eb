"""Checks that losses were tuned alike: the same number of trials, over the same values."""

from collections import Counter
from collections.abc import Mapping, Sequence

from xent_bench.comparison.trials import Trial, by_loss
from xent_bench.comparison.tuned_space import listed
from xent_bench.comparison.tuning import Choice, in_order
from xent_bench.runs.design import design_of

SOBOL = "sobol"  # the sampler that gives all losses the same points


def budget(trials: Sequence[Trial], choices: Mapping[str, Choice]) -> list[Trial]:
    """Trials that count as tuning effort: all candidates, and trials that lost before their end.

    A paused trial was tried, and so was a drawn point that diverged. A listed value that diverged
    counts if a trial of any loss has the same shared hyper-parameters: otherwise a loss that
    diverged at some values would look less tuned than the others.
    """
    candidates = {id(trial) for choice in choices.values() for trial in choice.candidates}
    kept = [trial for trial in trials if id(trial) in candidates or trial.is_paused]
    counted = set(map(id, kept))
    grid = {tuple(sorted(trial.shared.items())) for trial in kept}
    return [
        trial
        for trial in trials
        if id(trial) in counted
        or (trial.has_diverged and (trial.is_drawn or tuple(sorted(trial.shared.items())) in grid))
    ]


def tried_by_loss(trials: Sequence[Trial], budgeted: Sequence[Trial]) -> Counter[str]:
    """Number of trials that each loss's chosen trial had to beat, itself included.

    In a search these are all that count as tuning effort; `Counter` gives 0 for other losses, where
    the candidates alone are counted, as for a grid.
    """
    searched = {trial.loss for trial in trials if trial.is_paused or trial.is_drawn}
    return Counter(trial.loss for trial in budgeted if trial.loss in searched)


def unequal(trials: Sequence[Trial]) -> str:
    """Say how losses differ in their number of trials; empty if they do not."""
    counts = Counter(trial.loss for trial in trials)
    if len(set(counts.values())) < 2:
        return ""
    return "trials: " + ", ".join(f"{loss} {count}" for loss, count in counts.items())


def sampler_of(trials: Sequence[Trial]) -> str:
    """Name of the sampler that placed each loss's trials by their results; empty if none did.

    Such a sampler goes its own way for each loss, so that losses have other values.
    """
    designs = [design_of(run.tags) for trial in trials for run in trial.runs]
    samplers = {design.sampler for design in designs if design.is_search} - {SOBOL}
    return " and ".join(sorted(samplers))


def placed_by(trials: Sequence[Trial]) -> str:
    """Name of the sampler by which losses have different points; empty if they share them."""
    return "" if _share_points(by_loss(trials)) else sampler_of(trials)


def confounded(trials: Sequence[Trial]) -> list[str]:
    """Hyper-parameters outside the loss that were not tried over the same values by all losses.

    If there are any, differences between losses may also be due to these hyper-parameters. Where a
    sampler placed the trials of each loss by their results, a key is named only if some loss has a
    single value of it.
    """
    groups = by_loss(trials)
    is_adaptive = all(map(sampler_of, groups.values()))
    differing = []
    for key in dict.fromkeys(key for trial in trials for key in trial.shared):
        values = {
            loss: in_order(trial.shared.get(key, "-") for trial in group)
            for loss, group in groups.items()
        }
        is_searched = is_adaptive and all(len(tried) > 1 for tried in values.values())
        if len(set(map(tuple, values.values()))) > 1 and not is_searched:
            by_values = "; ".join(f"{loss} {listed(tried)}" for loss, tried in values.items())
            differing.append(f"{key}: {by_values}")
    if not (_share_points(groups) or differing or is_adaptive):
        differing.append("the combinations of their values")
    return differing


def _share_points(groups: Mapping[str, Sequence[Trial]]) -> bool:
    """Whether all losses were tried at the same points, their own hyper-parameters apart."""
    grids = {
        frozenset(tuple(sorted(trial.shared.items())) for trial in group)
        for group in groups.values()
    }
    return len(grids) < 2
