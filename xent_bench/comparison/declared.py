"""The sequential design that the runs of a comparison declare, and what it decides.

A sweep with `until=decided` keeps its design as a tag of each run: looks, primary metric, baseline.
The sweep and the report both decide here, from the same runs, so that they say the same.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from xent_bench.comparison.boundary import Boundary
from xent_bench.comparison.contrasts import all_same_weights
from xent_bench.comparison.sequential import Decision, decide, looks_until, next_seeds
from xent_bench.comparison.trials import Trial, seed_of
from xent_bench.comparison.yardsticks import YARDSTICKS, Yardstick, by_key
from xent_bench.runs.begun import STILL_RUNNING, Unfinished, is_paused, was_stopped
from xent_bench.runs.design import Design, design_of
from xent_bench.runs.result import Run

LEAST, MOST = 2, 100_000  # seeds that a design may have; a tag is data and may be damaged


class Courses(NamedTuple):
    """The runs of each loss in the order of seeds, and their scores by one metric.

    The seeds are those of the baseline. The course of a loss ends before the first seed whose run
    it lacks. A run that failed has NaN as its score, so that the loss is not judged.
    """

    seeds: list[int]
    runs: dict[str, list[Run]]  # without the runs that failed
    scores: dict[str, list[float]]
    same: set[str]  # losses that ended with the baseline's weights in all of these runs


class Sequential(NamedTuple):
    """A comparison under a sequential design: what was declared, and what the looks decide."""

    design: Design
    baseline: str
    looks: tuple[int, ...]
    trials: Mapping[str, Trial]  # that compete, by the loss's label
    courses: Courses
    decisions: dict[str, Decision]  # by label
    departures: list[str]  # in what the report was asked for something else, in words
    others: list[Design]  # further designs among the runs
    undeclared: int  # runs in use that were trained outside a sequential design

    @property
    def used(self) -> dict[str, list[Run]]:
        """Runs that count: those of each loss up to its last look."""
        return used_of(self.courses, self.decisions)

    def lacks(self, label: str, seed: int) -> bool:
        """Whether the next look needs the run of this loss with this seed, and it is missing."""
        needed = next_seeds(
            self.courses.scores, self.baseline, self.looks, list(self.decisions.values())
        )
        return seed in self.courses.seeds[: needed.get(label, 0)]

    @property
    def is_as_declared(self) -> bool:
        """Whether the error rates of the design hold: all was done as declared beforehand."""
        return not self.departures and not self.others


def designs_of(runs: Iterable[Run | Unfinished]) -> list[Design]:
    """Sequential designs among the runs: first the one with most seeds, then with most runs."""
    counts = Counter(design for run in runs if _is_sound(design := design_of(run.tags)))
    return sorted(counts, key=lambda design: (-design.max_seeds, -counts[design], design.primary))


def boundary_of(designs: Sequence[Design]) -> Boundary | None:
    """The boundary of the first design; None without a design."""
    return Boundary(looks_until(designs[0].max_seeds)) if designs else None


def sequential(
    trials: Sequence[Trial],
    chosen: Mapping[str, Trial],
    designs: Sequence[Design],
    baseline: str,
    yardsticks: Sequence[Yardstick],
    primary: str,
) -> Sequential:
    """Decide by the first of the designs, with this baseline and this primary metric.

    `chosen` has the trial of each loss that competes. Where losses were tuned, the seeds that chose
    between trials do not count: only fresh ones do.
    """
    design, *others = designs
    by = by_key(yardsticks)[primary]
    courses = courses_of(trials, chosen, baseline, primary)
    looks = looks_until(design.max_seeds)
    outcomes = decide(courses.scores, baseline, looks, by.tie, by.better, same=courses.same)
    decisions = {decision.label: decision for decision in outcomes}
    used = [run for runs in used_of(courses, decisions).values() for run in runs]
    return Sequential(
        design,
        baseline,
        looks,
        chosen,
        courses,
        decisions,
        _departures(design, baseline, by),
        others,
        sum(not design_of(run.tags).is_sequential for run in used),
    )


def courses_of(
    trials: Sequence[Trial], chosen: Mapping[str, Trial], baseline: str, key: str
) -> Courses:
    """Order the runs of each loss's chosen trial by seed, from the first fresh seed on.

    Another trial may have fresh seeds too, if it was the best before more trials were drawn.
    """
    others = [trial for trial in trials if not any(trial is one for one in chosen.values())]
    searched = max((max(_searched(trial), default=-1) for trial in others), default=-1)
    seeds = sorted(seed for seed in set(map(seed_of, chosen[baseline].all_runs)) if seed > searched)
    runs: dict[str, list[Run]] = {}
    scores: dict[str, list[float]] = {}
    for label, trial in chosen.items():
        finished = [run for run in trial.all_runs if isinstance(run, Run)]
        by_seed = {seed_of(run): run for run in finished}
        ended = by_seed.keys() | _failed(trial)
        course = list(takewhile(ended.__contains__, seeds))
        runs[label] = [by_seed[seed] for seed in course if seed in by_seed]
        scores[label] = [
            by_seed[seed].metrics.get(key, math.nan) if seed in by_seed else math.nan
            for seed in course
        ]
    same = {
        label
        for label in runs
        if label != baseline
        and all_same_weights(list(zip(runs[label], runs[baseline], strict=False)))
    }
    return Courses(seeds, runs, scores, same)


def used_of(courses: Courses, decisions: Mapping[str, Decision]) -> dict[str, list[Run]]:
    """The runs of each loss up to its last look, and of the baseline up to the last one of all."""
    last = max((decision.n for decision in decisions.values()), default=0)
    return {
        label: runs[: decisions[label].n if label in decisions else last]
        for label, runs in courses.runs.items()
    }


def _searched(trial: Trial) -> set[int]:
    """Seeds by which a trial was compared with the other trials of its loss."""
    return trial.seeds | trial.unfinished_seeds


def _failed(trial: Trial) -> set[int]:
    """Seeds with a run that failed: it was neither stopped nor paused, and is not running."""
    return {
        seed_of(run)
        for run in trial.all_runs
        if isinstance(run, Unfinished)
        and not (was_stopped(run) or is_paused(run) or run.reason == STILL_RUNNING)
    }


def _is_sound(design: Design) -> bool:
    """Whether a design is sequential and its values are possible."""
    return (
        design.is_sequential
        and design.primary in by_key(YARDSTICKS)
        and LEAST <= design.max_seeds <= MOST
    )


def _departures(design: Design, baseline: str, by: Yardstick) -> list[str]:
    """Differences between a comparison and what its design declared, in words."""
    declared = by_key(YARDSTICKS)[design.primary]
    departures = []
    if by.key != design.primary:
        departures.append(f"judged by {by.key}, where {design.primary} was declared")
    elif by.tie != declared.tie:
        departures.append(f"ties are within {by.margin()}, where {declared.margin()} was declared")
    if baseline != design.baseline:
        departures.append(f"compared with {baseline}, where {design.baseline} was declared")
    return departures
