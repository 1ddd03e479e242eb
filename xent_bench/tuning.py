"""Hyper-parameters, chosen for each loss on val alone, and whether the choice was fair."""

from collections.abc import Mapping, Sequence

from xent_bench.trials import Trial
from xent_bench.yardsticks import LARGER_IS_BETTER


def choose(trials: Sequence[Trial], choose_by: str) -> dict[str, Trial]:
    """Of each loss the trial with the best mean score on val, of those with most finished seeds.

    A ValueError if there is a choice and a trial has no such score.
    """
    chosen = {}
    for loss in dict.fromkeys(trial.loss for trial in trials):
        own = [trial for trial in trials if trial.loss == loss]
        unscored = [trial for trial in own if trial.score is None and trial.runs]
        if len(own) > 1 and unscored:
            have = unscored[0].runs[0].metrics
            known = ", ".join(sorted(key for key in have if key.startswith("val/"))) or "none"
            raise ValueError(
                f"cannot choose among the {len(own)} trials of {loss} by {choose_by}, which "
                f"{unscored[0].label} lacks; scores on val that it has: {known}"
            )
        chosen[loss] = min(own, key=lambda trial: (-len(trial.runs), cost(trial, choose_by)))
    return chosen


def cost(trial: Trial, choose_by: str) -> float:
    """The score, negative if the largest is best: to be minimised. Infinite if there is none."""
    if trial.score is None:
        return float("inf")
    larger = choose_by.partition("/")[2] in LARGER_IS_BETTER
    return -trial.score.mean if larger else trial.score.mean


def unequal(trials: Sequence[Trial]) -> str:
    """How the losses differ in what they were tuned over; nothing if they do not."""
    counts: dict[str, int] = {}
    for trial in trials:
        counts[trial.loss] = counts.get(trial.loss, 0) + 1
    if len(set(counts.values())) < 2:
        return ""
    return "trials: " + ", ".join(f"{loss} {count}" for loss, count in counts.items())


def at_edge(trials: Sequence[Trial], chosen: Mapping[str, Trial]) -> list[str]:
    """Chosen values that are the smallest or the largest tried: beyond, there may be a better."""
    found: dict[str, list[str]] = {}
    for loss, trial in chosen.items():
        for key, text in trial.varied.items():
            tried = {number(each.varied.get(key)) for each in trials if each.loss == loss}
            numbers = sorted(value for value in tried if value is not None)
            if len(numbers) < 2 or len(numbers) < len(tried):
                continue
            ends: dict[float | None, str] = {numbers[0]: "smallest", numbers[-1]: "largest"}
            end = ends.get(number(text))
            if end:
                found.setdefault(f"{key}={text}, the {end} tried", []).append(loss)
    return [f"{what}, for {', '.join(losses)}" for what, losses in found.items()]


def number(text: str | None) -> float | None:
    """The number that a text says; None if it says none."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def confounded(trials: Sequence[Trial]) -> list[str]:
    """Hyper-parameters outside the loss whose values differ between losses: differences between
    losses are then also due to these.
    """
    found = []
    for key in dict.fromkeys(key for trial in trials for key in trial.varied):
        if key.startswith("loss."):
            continue
        values: dict[str, set[str]] = {}
        for trial in trials:
            values.setdefault(trial.loss, set()).add(trial.varied.get(key, "-"))
        if len(set(map(frozenset, values.values()))) > 1:
            each = "; ".join(f"{loss} {', '.join(sorted(own))}" for loss, own in values.items())
            found.append(f"{key}: {each}")
    return found
