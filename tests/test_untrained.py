"""Losses of which nets learnt nothing: the conclusion and the card say so beside their scores."""

import math

import pytest
from compared_losses import SEEDS, compared, unfinished, write_loss
from written_run import write_run

from xent_bench.advice.card import advise
from xent_bench.advice.needs import Needs
from xent_bench.advice.offer import Offer
from xent_bench.report.advice_words import setting_in_words
from xent_bench.report.conclusion import conclusion
from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.result import load_runs


def write_answers(root, loss, recall: float, confidence: float, *, at_bound: bool) -> None:
    """Write runs of nets that give every image one distribution of ten classes."""
    rest = (1 - confidence) / 9
    entropy = -confidence * math.log(confidence) - 9 * rest * math.log(rest) if rest else 0.0
    for seed in SEEDS:
        metrics = {"test/balanced_top1": recall, "test_ts/entropy": entropy}
        metrics["test_ts/temperature_at_bound"] = float(at_bound)
        write_run(root, loss, seed, metrics=metrics)


@pytest.mark.parametrize(
    ("recall", "confidence", "at_bound", "guesses"),
    [
        (0.1, 0.1, True, True),  # one class for every image
        (0.07, 0.12, True, True),  # worse than a guess, and a little unequal
        (1.0, 1.0, True, False),  # no answer is wrong, which does not determine T either
        (0.6, 0.9, True, False),  # images of calib are few
        (0.15, 0.2, False, False),  # little, but learnt
    ],
)
def test_nets_that_guess_are_told_from_those_that_calib_does_not_determine(
    tmp_path, recall, confidence, at_bound, guesses
):
    write_loss(tmp_path, "ce", 0.9)
    write_answers(tmp_path, "gce", recall, confidence, at_bound=at_bound)

    said = "No better than chance at this setting: gce (4 of 4 runs)." in conclusion(
        compared(tmp_path)
    )
    assert said is guesses


def test_runs_that_diverged_are_counted_in_the_conclusion_and_on_the_card(tmp_path):
    write_loss(tmp_path, "ce", 0.9)
    write_loss(tmp_path, "gce", 0.8, seeds=(0, 1, 2))
    unfinished(tmp_path, "gce", 3, "Diverged: the loss became nan in epoch 2, step 9")
    unfinished(tmp_path, "mse", 3, "Preempted: told to end by SIGTERM")
    card = advise(load_runs(tmp_path), load_unfinished(tmp_path), Needs(), Offer([], [], [], {}))

    words = "iverged, so that scores are those of the others alone: gce (1 of 4 runs)"
    assert f"D{words}." in conclusion(compared(tmp_path))
    assert f"; d{words}" in setting_in_words(card.deciding[0])
