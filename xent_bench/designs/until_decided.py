"""Seeds for the losses whose comparison with the baseline is open, look by look."""

from collections.abc import Mapping, Sequence
from math import nan
from statistics import fmean
from typing import NamedTuple

from xent_bench.comparison.contrasts import all_same_weights
from xent_bench.comparison.sequential import (
    SAME,
    TIE,
    UNJUDGED,
    Decision,
    decide,
    looks_until,
    most_runs_left,
    next_seeds,
)
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.config.configure import ConfigError
from xent_bench.designs.cells import Trial
from xent_bench.designs.ledger import Ledger
from xent_bench.runs.design import Design, design_of
from xent_bench.runs.pace import duration
from xent_bench.tables import n_runs


class Course(NamedTuple):
    """A comparison on its way: the trial of each loss, and the seeds in the order of their use."""

    trials: Mapping[str, Trial]  # by loss
    seeds: Sequence[int]


def ask_until_decided(ledger: Ledger, course: Course, design: Design) -> None:
    """Ask for the seeds of the next look, for each loss that is open and for the baseline.

    ConfigError if the baseline is not among the losses.
    """
    if design.baseline not in course.trials:
        other = next(iter(course.trials))
        complaint = f"is not among the losses of the sweep, {', '.join(course.trials)}"
        way = f"expected loss={design.baseline},... with it, or baseline={other}"
        raise ConfigError("baseline", f"{design.baseline} {complaint}; {way}")
    if len(course.trials) < 2:
        complaint = f"compares losses with {design.baseline}, and the sweep has no other"
        raise ConfigError("until", f"decided {complaint}; expected as in loss=ce,focal")
    by = by_key()[design.primary]
    looks = looks_until(design.max_seeds)
    values = {loss: _values(ledger, course, loss, by) for loss in course.trials}
    same = _same_as_baseline(ledger, course, design.baseline)
    decisions = decide(values, design.baseline, looks, by.tie, by.better, same=same)
    wanted = next_seeds(values, design.baseline, looks, decisions)
    used = {decision.label: decision.n for decision in decisions}
    used[design.baseline] = max([looks[0], *used.values()])
    seeds_of = {loss: max(used[loss], wanted.get(loss, 0)) for loss in course.trials}
    for place, seed in enumerate(course.seeds):
        for loss, trial in course.trials.items():
            if place < seeds_of[loss]:
                ledger.ask(trial.with_seed(seed))
    _tell(ledger, decisions, looks, by, design.baseline)
    _tell_of_open(ledger, decisions, None if wanted else design.max_seeds)
    _tell_of_others(ledger, course, used, design)
    if wanted:
        at, left = max(wanted.values()), most_runs_left(values, design.baseline, looks, decisions)
        ledger.foresee(
            f"the next look is at {at} seeds; at most {n_runs(left)} are left{_time(ledger, left)}"
        )


def _time(ledger: Ledger, runs: int) -> str:
    """', 12 min one after the other', by the finished runs' mean duration; empty without one."""
    finished = [run for words in ledger.asked if (run := ledger.result(words))]
    if not finished:
        return ""
    return f", {duration(runs * fmean(run.seconds for run in finished))} one after the other"


def _values(ledger: Ledger, course: Course, loss: str, by: Yardstick) -> list[float]:
    """The metric of a loss's runs, seed by seed up to the first without an end.

    NaN stands for a run that failed or that has no such metric.
    """
    values: list[float] = []
    for seed in course.seeds:
        words = course.trials[loss].with_seed(seed)
        run = ledger.result(words)
        if run is None and not ledger.failed(words):
            break
        values.append(nan if run is None else run.metrics.get(by.key, nan))
    return values


def _same_as_baseline(ledger: Ledger, course: Course, baseline: str) -> list[str]:
    """Losses whose runs all end with the baseline's weights: one loss in two formats of label."""
    same = []
    for loss in course.trials:
        pairs = [
            [ledger.result(course.trials[label].with_seed(seed)) for label in (loss, baseline)]
            for seed in course.seeds
        ]
        finished = [(run, other) for run, other in pairs if run and other]
        if loss != baseline and all_same_weights(finished):
            same.append(loss)
    return same


def _tell(
    ledger: Ledger,
    decisions: Sequence[Decision],
    looks: Sequence[int],
    by: Yardstick,
    baseline: str,
) -> None:
    """Tell what each look has decided."""
    for look, n in enumerate(looks):
        for decision in decisions:
            if decision.look == look:
                ledger.tell(f"After {n} seeds: {_sentence(decision, by, baseline)}")
    for decision in decisions:
        if decision.verdict == SAME:
            ledger.tell(
                f"{decision.label} is {baseline} in another format: it ends with the same weights"
            )


def _tell_of_open(ledger: Ledger, decisions: Sequence[Decision], spent: int | None) -> None:
    """Tell which losses are open; `spent` is the number of seeds where no more are allowed."""
    begun = [decision for decision in decisions if decision.is_open and decision.n]
    if begun:
        listed = ", ".join(f"{decision.label} ({decision.n} seeds)" for decision in begun)
        ledger.tell(f"Open{f', with all {spent} seeds spent' * (spent is not None)}: {listed}")


def _tell_of_others(
    ledger: Ledger, course: Course, used: Mapping[str, int], design: Design
) -> None:
    """Tell how many of the runs in use were trained outside the design, perhaps looked at."""
    runs = [
        run
        for loss, trial in course.trials.items()
        for seed in course.seeds[: used[loss]]
        if (run := ledger.result(trial.with_seed(seed)))
    ]
    outside = sum(not is_of(design_of(run.tags), design) for run in runs)
    if outside:
        ledger.tell(
            f"{outside} of the {n_runs(len(runs))} in use were trained outside this design: its "
            "rates of error hold only if nobody chose it because of what they showed"
        )


def is_of(trained: Design, design: Design) -> bool:
    """Whether a run of one design counts as declared in the other: same metric and baseline."""
    declared = (design.primary, design.baseline)
    return trained.is_sequential and (trained.primary, trained.baseline) == declared


def _sentence(decision: Decision, by: Yardstick, baseline: str) -> str:
    """The verdict on a loss, with its difference to the baseline and the adjusted interval."""
    if decision.verdict == UNJUDGED or decision.mean is None:
        return f"{decision.label} cannot be judged: not every run of both has a finite {by.name}"
    half = decision.half_width
    interval = "" if half is None else f" \N{PLUS-MINUS SIGN} {by.shown(half)}"
    size = f"{by.name} {by.shown(decision.mean, '+')}{interval}{by.unit}"
    if decision.verdict == TIE:
        return f"{decision.label} and {baseline} tie within {by.margin()} ({size})"
    return f"{decision.label} is {decision.verdict} than {baseline} ({size})"
