"""Sweeps that would change the advice: one for each open question, the most telling first."""

from collections.abc import Sequence

from xent_bench.advice.needs import Needs
from xent_bench.advice.offer import candidates, setting_words
from xent_bench.advice.pick import Pick
from xent_bench.advice.sweeps import (
    Sweep,
    Wanted,
    at_conditions,
    further_losses,
    more_seeds,
    tuning,
    under_shift,
)
from xent_bench.advice.tasks import Task
from xent_bench.advice.weighing import Weighing
from xent_bench.comparison.contrasts import OPEN
from xent_bench.comparison.yardsticks import Yardstick
from xent_bench.tables import joined


def next_sweeps(weighed: Weighing, worth_a_try: Sequence[str], needs: Needs) -> list[Sweep]:
    """Sweeps that would change the advice, or that would make one possible."""
    by, tasks, nearest, picked = weighed.by, weighed.tasks, weighed.nearest, weighed.picked
    if not nearest or picked is None:
        return _to_begin(tasks, needs, by)
    sweeps = [_on_own_data(nearest[0], tasks, picked, needs, by)]
    for place, task in enumerate(nearest, 1):
        open_losses = [v.label for v in weighed.verdicts(task) if v.word == OPEN]
        where = f" on task {place}" if len(nearest) > 1 else ""
        if open_losses:
            why = f"tell {joined(open_losses)} from {needs.baseline}{where}"
            sweeps.append(more_seeds(why, task, open_losses, needs, by))
    first = nearest[0]
    if worth_a_try:
        why = f"try {joined(worth_a_try)}, which suit these needs"
        sweeps.append(further_losses(why, first, worth_a_try, needs))
    if not first.comparison.is_tuned and needs.can_tune is not False:
        others = [picked.loss] if picked.displaces else _others(first, needs)
        sweeps.append(
            tuning("see whether it holds for tuned losses", first, [needs.baseline, *others], needs)
            or tuning(f"tune {picked.loss} alone, for use", first, [picked.loss], needs)
        )
    return [sweep for sweep in sweeps if sweep is not None]


def _on_own_data(
    task: Task, tasks: Sequence[Task], picked: Pick, needs: Needs, by: Yardstick
) -> Sweep | None:
    """The sweep on the user's data and net, where what decides is of others."""
    data, net, _ = task.farness
    if not data and not net:
        return None
    where = [str(needs.data)] if data else []
    where += [f"with {needs.model}"] if net else []
    others = [picked.loss] if picked.displaces else candidates(needs)
    losses = list(dict.fromkeys([needs.baseline, *others]))
    why = f"see what holds on {' '.join(where)}" if data else f"see what holds {' '.join(where)}"
    return at_conditions(why, None, Wanted(losses, by, setting_words(needs, tasks)), needs)


def _to_begin(tasks: Sequence[Task], needs: Needs, by: Yardstick) -> list[Sweep]:
    """Sweeps to type where nothing can be recommended."""
    sweeps: list[Sweep | None] = []
    matched = [task for task in tasks if not task.gaps and not any(task.farness[:2])]
    for task in matched:
        others = _others(task, needs)
        if task.comparison.unranked:
            continue
        if needs.baseline not in task.labels:
            why = f"have {needs.baseline} to compare with"
            sweeps.append(further_losses(why, task, [needs.baseline], needs))
        elif not others:
            why = f"have losses to compare with {needs.baseline}"
            sweeps.append(further_losses(why, task, candidates(needs), needs))
        elif needs.shift and not task.contrasts:
            sweeps.append(under_shift("score these runs under shift", task))
        elif task.contrasts:
            why = f"tell losses from {needs.baseline}, which one seed cannot"
            sweeps.append(more_seeds(why, task, others, needs, by))
    if not matched:
        near = next((task for task in tasks if not any(task.farness[:2])), None)
        losses = [needs.baseline, *candidates(needs)]
        wanted = Wanted(losses, by, setting_words(needs, tasks))
        sweeps.append(at_conditions("compare losses for these needs", near, wanted, needs))
    return [sweep for sweep in sweeps if sweep is not None]


def _others(task: Task, needs: Needs) -> list[str]:
    """The losses of a task but the baseline and its twin in another format of label."""
    same = {contrast.label for contrast in task.contrasts if contrast.same}
    return [label for label in task.labels if label not in {needs.baseline, *same}]
