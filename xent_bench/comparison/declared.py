"""The sequential design that the runs of a comparison declare, and what it decides.

A sweep with `until=decided` keeps its design as a tag of each run: looks, primary metric, baseline.
The sweep and the report both decide here, from the same runs, so that they say the same.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from xent_bench.comparison.boundary import Boundary
from xent_bench.comparison.sequential import Decision, decide, looks_until
from xent_bench.comparison.trials import Trial
from xent_bench.comparison.yardsticks import YARDSTICKS, Yardstick, by_key
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.design import Design, design_of
from xent_bench.runs.result import Run

LEAST, MOST = 2, 100_000  # seeds that a design may have; a tag is data and may be damaged


class Courses(NamedTuple):
    """The runs of each loss in the order of seeds, and their scores by one metric.

    A course goes from the first seed on without gaps: it ends before a seed whose run is missing.
    A run that diverged has NaN as its score, so that the loss is not judged.
    """

    runs: dict[str, list[Run]]  # without the runs that diverged
    scores: dict[str, list[float]]
    same: set[str]  # losses that ended with the baseline's weights in all of these runs


class Sequential(NamedTuple):
    """A comparison under a sequential design: what was declared, and what the looks decide."""

    design: Design
    looks: tuple[int, ...]
    courses: Courses
    decisions: dict[str, Decision]  # by label
    departures: list[str]  # in what the report was asked for something else, in words
    others: list[Design]  # further designs among the runs
    undeclared: int  # runs in use that were trained before a design was declared

    @property
    def used(self) -> dict[str, list[Run]]:
        """Runs that count: those of each loss up to its last look, and all of the baseline."""
        return {
            label: runs[: self.decisions[label].n if label in self.decisions else self.looks[-1]]
            for label, runs in self.courses.runs.items()
        }

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
    used = [run for runs in courses.runs.values() for run in runs]
    return Sequential(
        design,
        looks,
        courses,
        decisions,
        _departures(design, baseline, by),
        others,
        sum(not design_of(run.tags).is_sequential for run in used),
    )


def courses_of(
    trials: Sequence[Trial], chosen: Mapping[str, Trial], baseline: str, key: str
) -> Courses:
    """Order the runs of each loss's chosen trial by seed, from the first fresh seed on."""
    others = [trial for trial in trials if not any(trial is one for one in chosen.values())]
    searched = max((max(_begun(trial), default=-1) for trial in others), default=-1)
    finished = {
        label: {int(run.params["seed"]): run for run in trial.runs}
        for label, trial in chosen.items()
    }
    first = min(
        (seed for by_seed in finished.values() for seed in by_seed if seed > searched), default=0
    )
    runs: dict[str, list[Run]] = {}
    scores: dict[str, list[float]] = {}
    for label, trial in chosen.items():
        by_seed, diverged = finished[label], _diverged(trial)
        runs[label], scores[label] = [], []
        seed = first
        while seed in by_seed or seed in diverged:
            if seed in by_seed:
                runs[label].append(by_seed[seed])
            metrics = by_seed[seed].metrics if seed in by_seed else {}
            scores[label].append(metrics.get(key, math.nan))
            seed += 1
    same = {
        label
        for label in runs
        if label != baseline and _are_same(runs[label], runs.get(baseline, []))
    }
    return Courses(runs, scores, same)


def _begun(trial: Trial) -> set[int]:
    return trial.seeds | trial.unfinished_seeds


def _diverged(trial: Trial) -> set[int]:
    """Seeds whose training stopped because the loss became infinite or NaN."""
    return {
        int(run.params["seed"]) for run in trial.unfinished if run.reason.startswith("Diverged")
    }


def _are_same(runs: Sequence[Run], others: Sequence[Run]) -> bool:
    """Whether all pairs of runs, of which there is one at least, ended with the same weights."""
    pairs = list(zip(runs, others, strict=False))
    weights = [[run.tags.get("weights_sha256") for run in pair] for pair in pairs]
    return bool(pairs) and all(ours is not None and ours == theirs for ours, theirs in weights)


def _is_sound(design: Design) -> bool:
    """Whether a design is sequential and its values are possible."""
    return (
        design.is_sequential
        and design.primary in by_key(YARDSTICKS)
        and LEAST <= design.max_seeds <= MOST
    )


def _departures(design: Design, baseline: str, by: Yardstick) -> list[str]:
    """In what a comparison differs from what the design declared, in words."""
    declared = by_key(YARDSTICKS)[design.primary]
    departures = []
    if by.key != design.primary:
        departures.append(f"by {by.key}, declared was {design.primary}")
    elif by.tie != declared.tie:
        departures.append(f"with ties within {by.margin()}, declared was {declared.margin()}")
    if baseline != design.baseline:
        departures.append(f"against {baseline}, declared was {design.baseline}")
    return departures
