"""The decision card: what the runs at hand recommend for a user's needs, and what is open."""

from collections.abc import Sequence
from typing import NamedTuple

from xent_bench.advice.calibrators import Calibration, Step, calibration
from xent_bench.advice.needs import Needs
from xent_bench.advice.next_steps import next_sweeps
from xent_bench.advice.offer import Experiment, Offer, candidates, experiment_for
from xent_bench.advice.pick import Pick, Verdict
from xent_bench.advice.shift_means import with_shift_means
from xent_bench.advice.sweeps import Sweep
from xent_bench.advice.tasks import Task, conditions_of, gaps
from xent_bench.advice.weighing import Weighing, weigh
from xent_bench.comparison.yardsticks import Yardstick
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run


class Harm(NamedTuple):
    """A calibrator that is shown to make a loss worse."""

    loss: str
    step: Step


class Card(NamedTuple):
    """The recommendation with its evidence; `pick` is None where nothing can be recommended."""

    needs: Needs
    by: Yardstick  # the metric that decides
    pick: Pick | None
    calibration: Calibration | None
    harm: Harm | None  # why losses are compared as trained although there is calibration data
    deciding: list[Task]  # the nearest tasks that match the needs
    farther: list[Task]  # others that match: shown, but they decide nothing
    unusable: list[Task]  # others that match and cannot decide
    others: list[Task]  # under other conditions, the nearest first
    verdicts: list[list[Verdict]]  # of each task in `deciding`, then of each in `farther`
    without_metric: list[str]  # losses of the tasks that decide which lack the metric
    worth_a_try: list[str]  # losses that suit the needs and that no task in `deciding` has
    never_tried: list[str]  # all further losses of conf/loss that none has
    sweeps: list[Sweep]
    experiment: Experiment | None
    unfinished: int  # runs that have begun and have no result


def advise(
    runs: Sequence[Run], unfinished: Sequence[Unfinished], needs: Needs, offer: Offer
) -> Card:
    """Weigh the runs for these needs.

    Which runs decide depends on their settings alone, never on their scores. Losses are compared
    after calibration; if that is shown to harm the loss that is picked, they are compared as
    trained, with p doubled for this second reading.
    """
    if needs.shift:
        runs = with_shift_means(runs)
    weighed, calibrated, harm = _weighed(runs, unfinished, needs)
    nearest = weighed.nearest
    matched = [task for task in weighed.tasks if not task.gaps]
    farther = [task for task in matched if not task.unusable and task not in nearest]
    tried = {label for task in nearest or matched for label in task.labels}
    worth = [loss for loss in candidates(needs) if loss not in tried and loss in offer.losses]
    lacking = [label for task in nearest for label in task.lacking(weighed.by.key)]
    is_elsewhere = not nearest or any(nearest[0].farness)
    return Card(
        needs,
        weighed.by,
        weighed.picked,
        calibrated,
        harm,
        nearest,
        farther,
        [task for task in matched if task.unusable],
        [task for task in weighed.tasks if task.gaps],
        [weighed.verdicts(task) for task in (*nearest, *farther)],
        list(dict.fromkeys(lacking)),
        worth,
        [loss for loss in offer.losses if loss not in tried and loss not in worth],
        next_sweeps(weighed, worth, needs),
        experiment_for(needs, offer) if is_elsewhere else None,
        len(unfinished),
    )


def _weighed(
    runs: Sequence[Run], unfinished: Sequence[Unfinished], needs: Needs
) -> tuple[Weighing, Calibration | None, Harm | None]:
    """Weigh the runs after calibration; as trained if that is shown to harm the loss picked."""
    weighed = weigh(runs, unfinished, needs, needs.yardstick(_keys(runs, needs)))
    calibrated, raw = _calibration(weighed, needs), needs.yardstick_as_trained()
    if calibrated and weighed.picked and (step := calibrated.harm(raw.key, weighed.by.key)):
        as_trained = weigh(runs, unfinished, needs, raw, readings=2)
        if as_trained.picked:
            harm = Harm(weighed.picked.loss, step)
            return as_trained, _calibration(as_trained, needs), harm
    return weighed, calibrated, None


def _calibration(weighed: Weighing, needs: Needs) -> Calibration | None:
    """The calibrator for the loss that is picked; None without one."""
    if weighed.picked is None:
        return None
    return calibration(weighed.picked.loss, weighed.nearest, needs, weighed.by)


def _keys(runs: Sequence[Run], needs: Needs) -> set[str]:
    """The metrics of the runs whose conditions match the needs."""
    matched = [run for run in runs if not gaps(conditions_of([run]), needs)]
    return {key for run in matched for key in run.metrics}
