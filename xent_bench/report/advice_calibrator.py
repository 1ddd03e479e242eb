"""The sentences of a decision card on the calibrator: which one is recommended, and why."""

from collections.abc import Sequence

from xent_bench.advice.calibrators import Calibration, Step, title_of
from xent_bench.advice.card import Card
from xent_bench.advice.needs import BY_ANSWER
from xent_bench.comparison.sequential import BETTER, TIE, WORSE
from xent_bench.comparison.trust import CALIBRATED
from xent_bench.report.advice_words import amount, capital, on_task
from xent_bench.report.conclusion import CALIBRATION_WORDS
from xent_bench.tables import joined


def calibrator_in_words(card: Card) -> list[str]:
    """The recommended calibrator in the first sentence, and the reasons in the others."""
    if card.pick is None or card.calibration is None:
        return []
    chosen = card.calibration
    if not card.needs.has_calibration_data:
        return [
            "none can be fitted.",
            "There is no calibration data, so scores count as trained.",
            *_trust(card, chosen),
        ]
    if chosen.is_shown or chosen.is_needed:
        reason = _why_calibrator(card, card.pick.loss, chosen)
        return [f"{title_of(chosen.prefix)}.", reason, *_trust(card, chosen)]
    reasons = [*_compared_otherwise(card, chosen), *_trust(card, chosen)]
    return [*_why_none(card, chosen.steps), *reasons]


def _why_calibrator(card: Card, loss: str, chosen: Calibration) -> str:
    if not chosen.is_shown:
        return f"Without it the scores of {loss} are no probabilities."
    last = [step for step in chosen.steps if step.after == chosen.prefix and step.word == BETTER]
    before = last[0].before
    amounts = [
        f"{amount(step.difference, card.by)}{on_task(step.task + 1, len(card.deciding))}"
        for step in last
        if step.before == before
    ]
    metric = card.needs.aim.short
    return (
        f"It is shown to improve the {metric} of {loss} ({title_of(before)}) by {joined(amounts)}."
    )


def _why_none(card: Card, steps: Sequence[Step]) -> list[str]:
    """The headline and the reason where no calibrator is recommended."""
    metric = card.needs.aim
    if not steps:
        is_answer = metric.metric in BY_ANSWER
        reason = (
            "A temperature changes no answer." if is_answer else "These runs have no such score."
        )
        return ["none is needed." if is_answer else "none was measured.", reason]
    names = joined(list(dict.fromkeys(title_of(step.after) for step in steps)))
    if all(step.word == TIE for step in steps):
        unchanged = f"{capital(names)} changes the {metric.short} by less than {card.by.margin()}."
        return ["none is needed.", unchanged]
    worse = list(dict.fromkeys(title_of(step.after) for step in steps if step.word == WORSE))
    noisy = " Calib has wrong labels in these runs, as train has." if _is_calib_noisy(card) else ""
    if worse:
        return [
            "none is shown to help.",
            f"{capital(joined(worse))} is shown to make the {metric.short} worse.{noisy}",
        ]
    return [
        "none is shown to help.",
        f"What {names} does to the {metric.short} is undecided with these seeds.{noisy}",
    ]


def _is_calib_noisy(card: Card) -> bool:
    return any(
        task.conditions.noise and task.first.params.get("noise.val") != "clean"
        for task in card.deciding
    )


def _compared_otherwise(card: Card, chosen: Calibration) -> list[str]:
    """The hint that losses were compared after a calibrator that is not recommended."""
    if card.by.key.rpartition("/")[0] == chosen.prefix:
        return []
    return [
        f"The losses are compared in {card.by.name} nevertheless; --no-calibration-data compares "
        "them as trained."
    ]


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
