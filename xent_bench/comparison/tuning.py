"""Choice of hyper-parameters for each loss on val.

A loss is reported *as tuned*: for each seed, the other seeds choose a trial on val, and that
trial's run with the left-out seed is reported. If the same seeds chose and reported, the best of
equally good trials would look better than it is, because a run that is lucky on val is lucky on
test. Where the chosen trial has fresh seeds, which chose nothing, these are reported instead.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple, TypeAlias

from xent_bench.comparison.trials import Trial, by_loss, natural, seed_of, shared_seeds
from xent_bench.comparison.yardsticks import LARGER_IS_BETTER
from xent_bench.runs.result import Run

SECOND = {"val/nll": "val/top1"}  # metric that breaks a tie; for all other scores val/nll
DIGITS = 12  # decimals to which scores are rounded; scores equal after that are a tie
FRESH = 2  # seeds that the chosen trials of all tuned losses need, to be reported by fresh seeds
ENOUGH = 0.5  # a trial with less than this share of the largest trial's seeds is left out

Place: TypeAlias = tuple[float, ...]  # sort key of a trial; smaller is better


class Choice(NamedTuple):
    """The outcome of tuning one loss."""

    trial: Trial  # chosen by all seeds together: the hyper-parameters to train with
    runs: list[Run]  # reported runs: for each seed, of the trial that the other seeds choose
    candidates: list[Trial]  # trials among which the choice was made
    left_out: list[str]  # labels of trials that could not be compared, with the reason
    tie: str  # sentence on how a tie was broken; empty if there was none
    flatters: bool = False  # whether the only seed that chose is also the one reported
    is_confirmed: bool = False  # whether the reported runs have fresh seeds, which chose nothing

    @property
    def begun(self) -> int:
        """Number of runs that were begun to report the loss, finished or not."""
        trial = self.trial
        return max(len(self.runs), len(trial.fresh) if self.is_confirmed else trial.begun)


def choose(trials: Sequence[Trial], choose_by: str) -> dict[str, Choice]:
    """Choose for each loss the trial with the best mean of `choose_by` over the shared seeds.

    The fresh seeds of `Trial.fresh` choose nothing. They alone are reported if the chosen trials of
    all tuned losses have FRESH of them in common: see comparison/confirmed.py, which finds them.
    ValueError if a loss has several trials and one of them lacks that score.
    """
    groups = by_loss(trials)
    choices = {loss: _choose(group, choose_by) for loss, group in groups.items()}
    tuned = [loss for loss, group in groups.items() if _is_tuned(choices[loss], group)]
    fresh = [{seed_of(run) for run in choices[loss].trial.fresh_runs} for loss in tuned]
    if not fresh or len(set.intersection(*fresh)) < FRESH:
        return choices
    return choices | {loss: _confirmed(choices[loss]) for loss in tuned}


def _is_tuned(choice: Choice, trials: Sequence[Trial]) -> bool:
    """Whether the reported trial is the best of several, finished or paused."""
    several = len(choice.candidates) > 1 or any(trial.is_paused for trial in trials)
    return bool(choice.candidates) and (several or bool(choice.trial.fresh))


def _confirmed(choice: Choice) -> Choice:
    """The choice, reported by the fresh seeds of the chosen trial."""
    return choice._replace(runs=choice.trial.fresh_runs, flatters=False, is_confirmed=True)


def _choose(trials: Sequence[Trial], choose_by: str) -> Choice:
    finished = [trial for trial in trials if trial.runs]
    if not finished:
        return Choice(trials[0], [], [], [], "")
    candidates, left_out = _comparable(finished)
    if len(candidates) == 1:
        return Choice(candidates[0], candidates[0].runs, candidates, left_out, "")
    for trial in candidates:
        _check_score(trial, len(candidates), choose_by)
    shared = shared_seeds(candidates)
    best = _best(candidates, shared, choose_by)
    tie = _tie(candidates, best, shared, choose_by)
    if len(shared) > 1:
        runs = _reported(candidates, shared, choose_by)
        return Choice(best, runs, candidates, left_out, tie)
    # only one seed is shared and chooses; report the chosen trial's other seeds, if it has any
    runs = [run for run in best.runs if seed_of(run) not in shared]
    return Choice(best, runs or best.runs, candidates, left_out, tie, flatters=not runs)


def _comparable(trials: Sequence[Trial]) -> tuple[list[Trial], list[str]]:
    """Trials of a loss that share at least one seed, and notes on the trials left out."""
    lacks = {id(trial): _lack(trial, trials) for trial in trials}
    if all(lacks.values()):
        lacks = {}
    kept = [trial for trial in trials if not lacks.get(id(trial))]
    if not shared_seeds(kept):
        largest = max(kept, key=lambda trial: len(trial.seeds))
        lacks |= {id(trial): "no seed in common" for trial in kept if trial is not largest}
        kept = [largest]
    left_out = [f"{trial.label} ({lack})" for trial in trials if (lack := lacks.get(id(trial)))]
    return kept, left_out


def _lack(trial: Trial, trials: Sequence[Trial]) -> str:
    """Say which seeds a trial lacks for a comparison with the loss's other trials; empty if none.

    A trial needs every seed that more than half of the trials finished; no seed that another trial
    finished may have failed; and it needs at least ENOUGH of the largest trial's number of seeds.
    Additional seeds give a trial no advantage.
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
    """Raise a ValueError if one of `number` trials of a loss lacks the score to choose by."""
    if trial.score is None:
        scores = ", ".join(sorted(key for key in trial.runs[0].metrics if key.startswith("val/")))
        raise ValueError(
            f"cannot choose among the {number} trials of {trial.loss} by {choose_by}, which "
            f"{trial.label} lacks; scores on val that it has: {scores or 'none'}"
        )


def _reported(candidates: Sequence[Trial], shared: set[int], choose_by: str) -> list[Run]:
    """Runs to report: for each seed, its run of the trial that the other seeds choose, if any."""
    runs = []
    for seed in sorted(set.union(*(trial.seeds for trial in candidates))):
        chosen = _best(candidates, shared - {seed}, choose_by)
        runs += [run for run in chosen.runs if seed_of(run) == seed]
    return runs


def _best(candidates: Sequence[Trial], seeds: set[int], choose_by: str) -> Trial:
    return min(candidates, key=lambda trial: _place(trial, candidates, seeds, choose_by))


def _place(
    trial: Trial, candidates: Sequence[Trial], seeds: set[int], choose_by: str
) -> tuple[Place, ...]:
    """Sort key of a trial: score, second score, distance from the middle of the grid, values."""
    second = SECOND.get(choose_by, "val/nll")
    scores = tuple(mean_cost(trial, seeds, key) for key in (choose_by, second))
    return scores, _off_middle(trial, candidates), _values(trial, candidates)


def mean_cost(trial: Trial, seeds: set[int], key: str) -> float:
    """Mean of a metric over these seeds, with its sign changed if larger is better.

    Smaller is always better; infinite if a run lacks the metric or no run has one of the seeds.
    """
    metrics = [run.metrics.get(key) for run in trial.runs if seed_of(run) in seeds]
    scores = [score for score in metrics if score is not None]
    if not scores or len(scores) < len(metrics):
        return math.inf
    return round(sign_of(key) * fmean(scores), DIGITS)


def sign_of(key: str) -> int:
    """The sign that makes a smaller value of this metric the better one."""
    return -1 if key.partition("/")[2] in LARGER_IS_BETTER else 1


def _off_middle(trial: Trial, candidates: Sequence[Trial]) -> Place:
    """Sum over the values of a trial: distance from the middle of those tried, over their number.

    A value at the edge of the grid is the worse guess.
    """
    distances = []
    for key, text in trial.varied.items():
        tried = in_order(other.varied.get(key, "") for other in candidates)
        distances.append(abs(tried.index(text) - (len(tried) - 1) / 2) / len(tried))
    return (sum(distances),)


def _values(trial: Trial, candidates: Sequence[Trial]) -> Place:
    """Ranks of a trial's values among those tried: of two equal trials, smaller values win."""
    return tuple(
        in_order(other.varied.get(key, "") for other in candidates).index(text)
        for key, text in trial.varied.items()
    )


def _tie(candidates: Sequence[Trial], best: Trial, seeds: set[int], choose_by: str) -> str:
    """Say how a tie of the score was broken; empty if there was none."""
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
    """Distinct texts in natural order: numbers by size ('2' before '10'), then words."""
    return sorted(set(texts), key=natural)
