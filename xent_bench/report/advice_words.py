"""The sentences of a decision card: what is recommended and why, and what was never measured."""

from collections.abc import Sequence

from xent_bench.advice.calibrators import title_of
from xent_bench.advice.card import Card
from xent_bench.advice.needs import Needs
from xent_bench.advice.pick import Pick
from xent_bench.advice.sweeps import Sweep
from xent_bench.advice.tasks import Task
from xent_bench.comparison.contrasts import OPEN, UNJUDGED
from xent_bench.comparison.sequential import BETTER, TIE, WORSE
from xent_bench.comparison.stats import Difference
from xent_bench.comparison.yardsticks import Yardstick
from xent_bench.runs.pace import duration
from xent_bench.tables import joined, n_runs

NAMED = 12  # losses that a sentence names; the others are counted
TASKS_NAMED = 4  # tasks that a sentence names, with a reason each


def needs_in_words(needs: Needs, by: Yardstick) -> str:
    """The needs as they were understood, with the metric that stands for them."""
    parts = [f"{'' if needs.has_calibration_data else 'no '}calibration data"]
    if needs.noise:
        kind = f" ({needs.noise_kind})" if needs.noise_kind else ""
        parts.append(f"{100 * needs.noise:g} % of the labels of train are wrong{kind}")
    if needs.is_uneven:
        parts.append(f"the largest class of train has {needs.imbalance:g} times the smallest")
    parts += ["images in use are corrupted"] * needs.shift
    if needs.data or needs.model:
        parts.append(f"{needs.data or 'any data'} with {needs.model or 'any net'}")
    if needs.budget is not None:
        parts.append(f"a budget of {n_runs(needs.budget)}")
    return f"Need: {needs.aim.meaning}, judged by {by.name}. Given: {'; '.join(parts)}."


def loss_in_words(card: Card) -> list[str]:
    """The recommended loss in the first sentence, and the reasons in the others."""
    if card.pick is None:
        return ["none can be recommended.", *_why_nothing(card)]
    if not card.pick.displaces:
        return [f"{card.pick.loss}.", *_why_the_baseline(card)]
    return [f"{card.pick.loss}.", *_why_another(card)]


def _why_nothing(card: Card) -> list[str]:
    if card.unusable:
        reasons = [f"{task.name}: {task.unusable}" for task in card.unusable]
        return [f"Runs match these needs, and decide nothing. {_sentence('; '.join(reasons))}"]
    if card.others:
        nearest = card.others[0]
        gaps = " and ".join(nearest.gaps)
        return [
            f"No run matches these needs. The nearest that was measured: {nearest.name} ({gaps})."
        ]
    if card.unfinished:
        return [f"No run has finished; {n_runs(card.unfinished)} began (xent-status says why)."]
    return ["There is no run yet."]


def _why_the_baseline(card: Card) -> list[str]:
    baseline = card.needs.baseline
    sentences = [
        f"No other loss is shown to be better, so {baseline} stays: as the default, which is no "
        "proof that it is the best."
    ]
    words = {TIE: f"tied with {baseline}", WORSE: "worse", OPEN: "undecided", UNJUDGED: UNJUDGED}
    parts = [
        f"{text}: {joined(losses)}" for word, text in words.items() if (losses := _with(card, word))
    ]
    if parts:
        sentences.append(_sentence("; ".join(parts)))
    assert card.pick is not None
    if card.pick.mixed:
        mixed = joined(card.pick.mixed)
        sentences.append(
            f"Better on one task and worse on another: {mixed}; --data or --model picks a task."
        )
    return sentences


def _why_another(card: Card) -> list[str]:
    assert card.pick is not None
    loss, baseline, tasks = card.pick.loss, card.needs.baseline, len(card.deciding)
    amounts = [
        f"{amount(verdict.contrast.difference, card.by)}{on_task(place, tasks)}"
        for place, of_task in enumerate(card.verdicts[:tasks], 1)
        for verdict in of_task
        if verdict.label == loss and verdict.word == BETTER
    ]
    sentences = [f"Shown to be better than {baseline} in {card.by.name}, by {joined(amounts)}."]
    if tasks > 1:
        sentences.append(f"On none of the {tasks} tasks it is shown to be worse.")
    return sentences + _why_of_equals(card.pick)


def _why_of_equals(picked: Pick) -> list[str]:
    """The reason why this loss, of several that are shown to be better."""
    if not picked.alike:
        return []
    are = "is" if len(picked.alike) == 1 else "are"
    return [
        f"So {are} {joined(picked.alike)}; between these losses nothing is shown, and "
        f"{picked.loss} {picked.reason}."
    ]


def on_task(place: int, tasks: int) -> str:
    """' on task 2', or empty where one task alone decides."""
    return f" on task {place}" if tasks > 1 else ""


def _with(card: Card, word: str) -> list[str]:
    """Losses with this verdict on a task that decides, with these tasks where others say otherwise.

    A loss that is judged on one task is not listed as undecided or not judged for another one.
    """
    places: dict[str, dict[str, list[int]]] = {}  # of tasks, by loss and verdict
    for place, of_task in enumerate(card.verdicts[: len(card.deciding)], 1):
        for verdict in of_task:
            places.setdefault(verdict.label, {}).setdefault(verdict.word, []).append(place)
    losses = []
    for label, by_word in places.items():
        is_judged = any(decided in by_word for decided in (BETTER, TIE, WORSE))
        if word not in by_word or (is_judged and word in (OPEN, UNJUDGED)):
            continue
        where = f"task{'s' * (len(by_word[word]) > 1)} {joined([*map(str, by_word[word])])}"
        losses.append(f"{label} on {where}" if len(by_word) > 1 and is_judged else label)
    return losses


def reading_in_words(card: Card) -> list[str]:
    """The reason why losses are compared as trained although there is calibration data."""
    if card.harm is None:
        return []
    loss, step = card.harm
    amount_of_harm = (
        f"{amount(step.difference, card.by)}{on_task(step.task + 1, len(card.deciding))}"
    )
    return [
        f"Losses are compared as trained, because {title_of(step.after)} is shown to make the "
        f"{card.needs.aim.short} of {loss} worse, by {amount_of_harm}; p is doubled for this "
        "second reading."
    ]


def farness_in_words(card: Card) -> list[str]:
    """How the evidence that decides differs from the needs; empty if it does not."""
    if not card.deciding:
        return []
    words = card.deciding[0].differs_from(card.needs)
    return [f"The runs that show it are {joined(words)}."] if words else []


def left_out_in_words(card: Card) -> list[str]:
    """The tasks that match the needs beside those that decide, and why they decide nothing."""
    if not card.deciding or not card.unusable:
        return []
    # what differs between losses that are not ranked is on their own report, at length
    reasons = [f"{task.name} ({task.unusable.partition(' (')[0]})" for task in card.unusable]
    more = [f"{len(reasons) - TASKS_NAMED} more"] * (len(reasons) > TASKS_NAMED)
    listed = "; ".join([*reasons[:TASKS_NAMED], *more])
    return [f"Other runs match these needs too, and decide nothing: {listed}."]


def not_measured_heading(card: Card) -> str:
    """The heading of `never_measured`: other runs at hand may have measured it."""
    return "Not measured by the runs that decide" if card.deciding else "Not measured so far"


def never_measured(card: Card) -> list[str]:
    """Sentences on what no run that decides has measured."""
    sentences = []
    if card.without_metric:
        sentences.append(
            f"{capital(card.by.name)}, which they do not have: {joined(card.without_metric)}."
        )
    if card.worth_a_try:
        others = len(card.never_tried)
        more = f", and {others} further losses" if others else ""
        sentences.append(f"Losses that suit these needs: {joined(card.worth_a_try)}{more}.")
    elif card.never_tried:
        sentences.append(f"Losses: {_some(card.never_tried)}.")
    if not card.deciding:
        return sentences
    sentences += [f"Runs {joined(words)}." for words in [_missing_settings(card)] if words]
    nets = dict.fromkeys(str(task.first.params["model"]) for task in card.deciding)
    sets = dict.fromkeys(str(task.first.params["data"]) for task in card.deciding)
    sentences.append(f"Other data than {joined(list(sets))}; other nets than {joined(list(nets))}.")
    if not any(task.comparison.is_tuned for task in card.deciding):
        sentences.append("Tuned losses: each has one setting here.")
    return sentences + _near_conditions(card)


def _missing_settings(card: Card) -> list[str]:
    data, net, _ = card.deciding[0].farness
    return [f"on {card.needs.data}"] * data + [f"with {card.needs.model}"] * net


def _near_conditions(card: Card) -> list[str]:
    """Conditions that are similar to those that were asked for, and not the same."""
    sentences = []
    rates = {task.conditions.noise for task in card.deciding}
    if card.needs.noise and rates != {card.needs.noise}:
        shares = joined([f"{100 * rate:g} %" for rate in sorted(rates)])
        sentences.append(f"{100 * card.needs.noise:g} % of wrong labels: these runs have {shares}.")
    if card.needs.noise and card.needs.noise_kind is None:
        kinds = joined(sorted({task.conditions.kind for task in card.deciding}))
        sentences.append(f"Other kinds of wrong labels than {kinds}.")
    ratios = {task.conditions.imbalance for task in card.deciding}
    if card.needs.is_uneven and ratios != {card.needs.imbalance}:
        shown = joined([f"1:{ratio:g}" for ratio in sorted(ratios)])
        sentences.append(f"Class sizes of 1:{card.needs.imbalance:g}: these runs have {shown}.")
    return sentences


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return joined([*names[:NAMED], f"{more} more"] if more > 1 else list(names))


def cost_in_words(sweep: Sweep, needs: Needs) -> str:
    """The cost of a sweep: '15 to 81 runs, 8 to 40 min one at a time'."""
    if not sweep.runs:
        return "no run is trained for it"
    cost = n_runs(sweep.runs)
    if sweep.least is not None and sweep.least < sweep.runs:
        cost = f"{sweep.least} to {cost}" if sweep.least else f"at most {cost}"
    if sweep.seconds is not None and sweep.runs:
        seconds = [n * sweep.seconds for n in (sweep.least, sweep.runs) if n]
        times = [duration(total) for total in dict.fromkeys(seconds)]
        cost += f", {' to '.join(times)} one at a time"
    if sweep.exceeds and needs.budget is not None:
        cost += f"; more than the budget of {needs.budget}"
    return cost


def setting_in_words(task: Task) -> str:
    """A task with its number of runs and its reservations."""
    remarks = "".join(f"; {remark}" for remark in task.remarks)
    return f"{task.name}; {n_runs(len(task.runs))}{remarks}"


def amount(delta: Difference, by: Yardstick) -> str:
    """Size of a difference without its sign: '0.8 ± 0.3 points'."""
    half = "" if delta.half_width is None else f" ± {by.shown(delta.half_width)}"
    return f"{by.shown(abs(delta.mean))}{half}{by.unit}"


def _sentence(text: str) -> str:
    return f"{capital(text)}."


def capital(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]
