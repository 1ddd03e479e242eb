"""Hyper-parameters, chosen for each loss on val alone, and whether the choice was fair.

A loss is reported *as tuned*: for every seed stands the run of that trial which the other seeds
choose on val. Had the seeds that chose also reported, the best of equal trials would seem better
than it is, since a run that is lucky on val is lucky on test.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple, TypeAlias

from xent_bench.comparison.trials import Trial, natural, number
from xent_bench.comparison.yardsticks import LARGER_IS_BETTER
from xent_bench.runs.result import Run

SECOND = {"val/nll": "val/top1"}  # what breaks a tie of the score; of any other score val/nll
DIGITS = 12  # scores that agree to so many are equal
ENOUGH = 0.5  # of the seeds of a loss's largest trial: a trial with fewer is left out

Place: TypeAlias = tuple[float, ...]  # smaller is better


class Choice(NamedTuple):
    """The outcome of tuning one loss."""

    trial: Trial  # chosen by all seeds together: what to train with
    runs: list[Run]  # that are reported: for each seed of the trial which the others choose
    candidates: list[Trial]  # among which the choice was
    left_out: list[str]  # trials that could not be compared, with what they lack
    tie: str  # how a tie was broken; nothing if there was none
    flatters: bool = False  # whether the one seed that chose is the one that is reported


def choose(trials: Sequence[Trial], choose_by: str) -> dict[str, Choice]:
    """Choose for each loss the trial with the best mean score on val, over the same seeds.

    A ValueError if there is a choice and a trial has no such score.
    """
    by_loss: dict[str, list[Trial]] = {}
    for trial in trials:
        by_loss.setdefault(trial.loss, []).append(trial)
    return {loss: _choose(group, choose_by) for loss, group in by_loss.items()}


def _choose(trials: Sequence[Trial], choose_by: str) -> Choice:
    finished = [trial for trial in trials if trial.runs]
    if not finished:
        return Choice(trials[0], [], [], [], "")
    candidates, left_out = _comparable(finished)
    if len(candidates) == 1:
        return Choice(candidates[0], candidates[0].runs, candidates, left_out, "")
    for trial in candidates:
        _check_score(trial, len(candidates), choose_by)
    shared = set.intersection(*(trial.seeds for trial in candidates))
    best = _best(candidates, shared, choose_by)
    tie = _tie(candidates, best, shared, choose_by)
    if len(shared) > 1:
        runs = _reported(candidates, shared, choose_by)
        return Choice(best, runs, candidates, left_out, tie)
    # one seed has chosen; the others of the chosen trial, if there are any, are reported
    runs = [run for run in best.runs if int(run.params["seed"]) not in shared]
    return Choice(best, runs or best.runs, candidates, left_out, tie, flatters=not runs)


def _comparable(trials: Sequence[Trial]) -> tuple[list[Trial], list[str]]:
    """Trials of a loss that share a seed to choose by, and what the others lack."""
    lacks = {id(trial): _lack(trial, trials) for trial in trials}
    if all(lacks.values()):
        lacks = {}
    kept = [trial for trial in trials if not lacks.get(id(trial))]
    if not set.intersection(*(trial.seeds for trial in kept)):
        largest = max(kept, key=lambda trial: len(trial.seeds))
        lacks |= {id(trial): "no seed in common" for trial in kept if trial is not largest}
        kept = [largest]
    told = [f"{trial.label} ({lack})" for trial in trials if (lack := lacks.get(id(trial)))]
    return kept, told


def _lack(trial: Trial, trials: Sequence[Trial]) -> str:
    """Say what a trial of a loss lacks to be compared with the others; nothing if it lacks nothing.

    The seeds that more than half of the trials finished are wanted of each, and no seed that
    another trial finished may have failed. A trial is not chosen for having more.
    """
    finished = Counter(seed for other in trials for seed in other.seeds)
    largest = max(len(other.seeds) for other in trials)
    wanted = {seed for seed, count in finished.items() if 2 * count > len(trials)}
    failed = trial.unfinished_seeds & finished.keys()
    has = len(trial.seeds)
    if wanted - trial.seeds or failed:
        return f"{has} of {len(trial.seeds | wanted | failed)} seeds"
    return f"{has} of {largest} seeds" if has < ENOUGH * largest else ""


def _check_score(trial: Trial, number: int, choose_by: str) -> None:
    if trial.score is None:
        known = ", ".join(sorted(key for key in trial.runs[0].metrics if key.startswith("val/")))
        raise ValueError(
            f"cannot choose among the {number} trials of {trial.loss} by {choose_by}, which "
            f"{trial.label} lacks; scores on val that it has: {known or 'none'}"
        )


def _reported(candidates: Sequence[Trial], shared: set[int], choose_by: str) -> list[Run]:
    """List for each seed the run of the trial that the other seeds choose, if it has that seed."""
    runs = []
    for seed in sorted(set.union(*(trial.seeds for trial in candidates))):
        chosen = _best(candidates, shared - {seed}, choose_by)
        runs += [run for run in chosen.runs if int(run.params["seed"]) == seed]
    return runs


def _best(candidates: Sequence[Trial], seeds: set[int], choose_by: str) -> Trial:
    return min(candidates, key=lambda trial: _place(trial, candidates, seeds, choose_by))


def _place(
    trial: Trial, candidates: Sequence[Trial], seeds: set[int], choose_by: str
) -> tuple[Place, ...]:
    """Order trials by their score, then by a second one, then by nearness to the middle."""
    second = SECOND.get(choose_by, "val/nll")
    scores = tuple(mean_cost(trial, seeds, key) for key in (choose_by, second))
    return scores, _off_middle(trial, candidates), _values(trial, candidates)


def mean_cost(trial: Trial, seeds: set[int], key: str) -> float:
    """Mean score over these seeds, negative if the largest is best; infinite if it is not known."""
    scores = [run.metrics.get(key) for run in trial.runs if int(run.params["seed"]) in seeds]
    known = [score for score in scores if score is not None]
    if not known or len(known) < len(scores):
        return math.inf
    return round(_sign(key) * fmean(known), DIGITS)


def _sign(key: str) -> int:
    return -1 if key.partition("/")[2] in LARGER_IS_BETTER else 1


def _off_middle(trial: Trial, candidates: Sequence[Trial]) -> Place:
    """How far the values are from the middle of those tried: the edge is the worse guess."""
    distances = []
    for key, text in trial.varied.items():
        tried = in_order(other.varied.get(key, "") for other in candidates)
        distances.append(abs(tried.index(text) - (len(tried) - 1) / 2) / len(tried))
    return (sum(distances),)


def _values(trial: Trial, candidates: Sequence[Trial]) -> Place:
    """Places of the values among those tried, so that of two equals the smaller comes first."""
    return tuple(
        in_order(other.varied.get(key, "") for other in candidates).index(text)
        for key, text in trial.varied.items()
    )


def _tie(candidates: Sequence[Trial], best: Trial, seeds: set[int], choose_by: str) -> str:
    """Say how a tie of the score was broken; nothing if there was none."""
    score = mean_cost(best, seeds, choose_by)
    equals = [trial for trial in candidates if mean_cost(trial, seeds, choose_by) == score]
    if len(equals) < 2:
        return ""
    second = SECOND.get(choose_by, "val/nll")
    by_second = all(
        mean_cost(trial, seeds, second) > mean_cost(best, seeds, second)
        for trial in equals
        if trial is not best
    )
    how = second if by_second else "what lies nearer the middle of the tried"
    return f"{len(equals)} trials of {best.loss} tie in {choose_by}, chosen by {how}"


def in_order(texts: Iterable[str]) -> list[str]:
    """The different texts in their natural order: '2' before '10', numbers before words."""
    return sorted(set(texts), key=natural)


def budget(trials: Sequence[Trial], choices: Mapping[str, Choice]) -> list[Trial]:
    """The trials that losses were tuned over: the candidates, and of the same values those that
    diverged, which no other loss had more of.
    """
    candidates = [trial for choice in choices.values() for trial in choice.candidates]
    kept = {id(trial) for trial in candidates}
    grid = {tuple(sorted(trial.shared.items())) for trial in candidates}
    return [
        trial
        for trial in trials
        if id(trial) in kept or (trial.has_diverged and tuple(sorted(trial.shared.items())) in grid)
    ]


def unequal(trials: Sequence[Trial]) -> str:
    """Say how losses differ in the number of their trials; nothing if they do not."""
    counts = Counter(trial.loss for trial in trials)
    if len(set(counts.values())) < 2:
        return ""
    return "trials: " + ", ".join(f"{loss} {count}" for loss, count in counts.items())


def at_edge(trials: Sequence[Trial], chosen: Mapping[str, Trial]) -> list[str]:
    """Chosen values that are the smallest or the largest tried: beyond, there may be a better."""
    at_ends: dict[str, list[str]] = {}
    for loss, trial in chosen.items():
        for key, text in trial.varied.items():
            tried = {number(other.varied.get(key)) for other in trials if other.loss == loss}
            numbers = sorted(value for value in tried if value is not None)
            if len(numbers) < 2 or len(numbers) < len(tried):
                continue
            ends: dict[float | None, str] = {numbers[0]: "smallest", numbers[-1]: "largest"}
            end = ends.get(number(text))
            if end:
                at_ends.setdefault(f"{key}={text}, the {end} tried", []).append(loss)
    return [f"{value}, for {', '.join(losses)}" for value, losses in at_ends.items()]


def confounded(trials: Sequence[Trial]) -> list[str]:
    """Hyper-parameters outside the loss that not all losses tried over the same values:
    differences between losses are then also due to these.
    """
    by_loss: dict[str, list[Trial]] = {}
    for trial in trials:
        by_loss.setdefault(trial.loss, []).append(trial)
    differing = []
    for key in dict.fromkeys(key for trial in trials for key in trial.shared):
        values = {
            loss: in_order(trial.shared.get(key, "-") for trial in group)
            for loss, group in by_loss.items()
        }
        if len(set(map(tuple, values.values()))) > 1:
            by_values = "; ".join(f"{loss} {', '.join(tried)}" for loss, tried in values.items())
            differing.append(f"{key}: {by_values}")
    grids = {
        frozenset(tuple(sorted(trial.shared.items())) for trial in group)
        for group in by_loss.values()
    }
    if len(grids) > 1 and not differing:
        differing.append("the combinations of their values")
    return differing
