"""The sentences of a decision card: what is recommended and why, and what was never measured."""

from collections.abc import Sequence

from xent_bench.advice.calibrators import Calibration, Step, title_of
from xent_bench.advice.card import Card
from xent_bench.advice.needs import BY_ANSWER, Needs
from xent_bench.advice.next_steps import joined
from xent_bench.advice.pick import BETTER, TIE, WORSE
from xent_bench.advice.sweeps import Sweep
from xent_bench.advice.tasks import Task
from xent_bench.comparison.contrasts import OPEN
from xent_bench.comparison.stats import Difference
from xent_bench.comparison.trust import CALIBRATED
from xent_bench.comparison.yardsticks import Yardstick
from xent_bench.report.conclusion import CALIBRATION_WORDS
from xent_bench.runs.pace import duration
from xent_bench.tables import n_runs

NAMED = 12  # losses that a sentence names; the others are counted


def needs_in_words(needs: Needs, by: Yardstick) -> str:
    """The needs as they were understood, with the metric that stands for them."""
    parts = [f"{needs.need}: {needs.aim.meaning}"]
    if needs.noise:
        kind = f" ({needs.noise_kind})" if needs.noise_kind else ""
        parts.append(f"{100 * needs.noise:g} % of the labels of train are wrong{kind}")
    if needs.is_uneven:
        parts.append(f"the largest class of train has {needs.imbalance:g} times the smallest")
    parts += ["images in use are corrupted"] * needs.shift
    if needs.data or needs.model:
        parts.append(f"{needs.data or 'any data'} with {needs.model or 'any net'}")
    parts.append(f"{'' if needs.has_calibration_data else 'no '}calibration data")
    if needs.budget is not None:
        parts.append(f"a budget of {n_runs(needs.budget)}")
    return f"You need {'; '.join(parts)}. Judged by {by.name}."


def loss_in_words(card: Card) -> list[str]:
    """The recommended loss in the first sentence, and the reasons in the others."""
    if card.pick is None:
        return ["None can be recommended.", *_why_nothing(card)]
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
    words = {TIE: f"tied with {baseline}", WORSE: "worse", OPEN: "undecided"}
    parts = [
        f"{text}: {joined(labels)}" for word, text in words.items() if (labels := _with(card, word))
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
        f"{_amount(verdict.contrast.difference, card.by)}{_on(place, tasks)}"
        for place, of_task in enumerate(card.verdicts[:tasks], 1)
        for verdict in of_task
        if verdict.label == loss and verdict.word == BETTER
    ]
    sentences = [
        f"It is shown to be better than {baseline} in {card.by.name}, by {joined(amounts)}."
    ]
    if tasks > 1:
        sentences.append(f"On none of the {tasks} tasks it is shown to be worse.")
    if card.pick.alike:
        alike = joined(card.pick.alike)
        are = "is" if len(card.pick.alike) == 1 else "are"
        sentences.append(
            f"So {are} {alike}, and between these losses nothing is shown; of them {loss} has the "
            "fewest hyper-parameters, and of equals takes the least time."
        )
    return sentences


def _on(place: int, tasks: int) -> str:
    return f" on task {place}" if tasks > 1 else ""


def _with(card: Card, word: str) -> list[str]:
    """Losses with this verdict on a task that decides."""
    of_tasks = card.verdicts[: len(card.deciding)]
    labels = [verdict.label for of_task in of_tasks for verdict in of_task if verdict.word == word]
    return list(dict.fromkeys(labels))


def farness_in_words(card: Card) -> list[str]:
    """How the evidence that decides differs from the needs; empty if it does not."""
    if not card.deciding:
        return []
    words = card.deciding[0].differs_from(card.needs)
    return [f"This rests on other runs than you asked for: {joined(words)}."] if words else []


def calibrator_in_words(card: Card) -> list[str]:
    """The recommended calibrator in the first sentence, and the reasons in the others."""
    if card.pick is None or card.calibration is None:
        return []
    chosen = card.calibration
    name = title_of(chosen.prefix).capitalize() if _is_fitted(chosen) else "None"
    return [f"{name}.", *_why_calibrator(card, chosen), *_trust(card, chosen)]


def _is_fitted(chosen: Calibration) -> bool:
    return title_of(chosen.prefix) != "as trained"


def _why_calibrator(card: Card, chosen: Calibration) -> list[str]:
    loss = card.pick.loss if card.pick else ""
    if not card.needs.has_calibration_data:
        return ["Without calibration data none can be fitted, and scores as trained decide."]
    if chosen.is_shown:
        steps = [
            f"{_amount(step.difference, card.by)}{_on(step.task + 1, len(card.deciding))}"
            for step in chosen.steps
            if step.after == chosen.prefix and step.word == BETTER
        ]
        return [f"It is shown to improve {card.by.above} of {loss}, by {joined(steps[:1])}."]
    if chosen.is_needed:
        return [f"Without it the scores of {loss} are no probabilities."]
    sentences = [_not_shown(card, chosen.steps)]
    if card.by.key.rpartition("/")[0] != chosen.prefix:
        sentences.append(f"The losses were compared in {card.by.name}.")
    return sentences


def _not_shown(card: Card, steps: Sequence[Step]) -> str:
    """Say why no calibrator is recommended."""
    metric = card.needs.aim.metric
    if not steps:
        return "A temperature changes no answer." if metric in BY_ANSWER else "None was measured."
    worse = [title_of(step.after) for step in steps if step.word == WORSE]
    if worse:
        noisy = ": calib has wrong labels, too" if card.needs.noise else ""
        return f"{_capital(joined(list(dict.fromkeys(worse))))} is shown to make it worse{noisy}."
    if all(step.word == TIE for step in steps):
        return f"None changes {card.by.above} by more than {card.by.margin()}."
    return f"None is shown to improve {card.by.above}; none is shown to do no harm either."


def _trust(card: Card, chosen: Calibration) -> list[str]:
    """Whether the probabilities of the loss are calibrated, where the report has a verdict."""
    if card.needs.aim.metric in BY_ANSWER or card.pick is None:
        return []
    words = [
        task.comparison.trust.get(chosen.prefix, {}).get(card.pick.loss) for task in card.deciding
    ]
    judged = list(dict.fromkeys(CALIBRATION_WORDS.get(word, word) for word in words if word))
    if not judged:
        return []
    when = "As trained" if chosen.prefix == "test" else f"After {title_of(chosen.prefix)}"
    verdicts = [f"calibrated {word}" if word == CALIBRATED else word for word in judged]
    return [f"{when} it is {joined(verdicts)}{' on these tasks' * (len(card.deciding) > 1)}."]


def never_measured(card: Card) -> list[str]:
    """Sentences on what no run that decides has measured."""
    sentences = []
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
    """The cost of a sweep: 'at most 81 runs, 40 min one at a time'."""
    cost = f"{'at most ' * sweep.is_most}{n_runs(sweep.runs)}"
    if sweep.seconds is not None and sweep.runs:
        cost += f", {duration(sweep.runs * sweep.seconds)} one at a time"
    if sweep.exceeds and needs.budget is not None:
        cost += f"; more than the budget of {needs.budget}"
    return cost


def setting_in_words(task: Task) -> str:
    """A task with its number of runs and its reservations."""
    remarks = "".join(f"; {remark}" for remark in task.remarks)
    return f"{task.name}; {n_runs(len(task.runs))}{remarks}"


def _amount(delta: Difference, by: Yardstick) -> str:
    """Size of a difference without its sign: '0.8 ± 0.3 points'."""
    half = "" if delta.half_width is None else f" ± {by.shown(delta.half_width)}"
    return f"{by.shown(abs(delta.mean))}{half}{by.unit}"


def _sentence(text: str) -> str:
    return f"{_capital(text)}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
