"""The report errs at most as often as it implies: simulations through the code that users run."""

import sys
from statistics import fmean

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

import error_rates

SHARE = 0.1  # of the sweeps that the table of the page is made of
CLAIMS = error_rates.claims(SHARE)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.claim}: {claim.truth}")
def test_a_claim_is_false_in_five_of_a_hundred_comparisons_at_most(claim):
    assert error_rates.rate(claim.simulate, claim.is_false, claim.repeats, seed=1).may_be(0.05)


def test_equally_good_trials_make_no_loss_seem_better_than_it_is():
    """Five trials, three seeds, seeds that differ by 0.5 points: chosen by all, 0.3 too good."""
    rng = np.random.default_rng(2)
    sweeps = [error_rates.equal_trials(rng, 2, 3, 5) for _ in range(300)]
    rows = [row for sweep in sweeps for row in sweep.rows]
    reported = [100 * row.estimates["test/top1"].mean for row in rows]
    chosen = [100 * fmean(run.metrics["test/top1"] for run in row.trial.runs) for row in rows]

    assert fmean(reported) == pytest.approx(50, abs=0.05)
    assert fmean(chosen) > 50.2


def test_the_interval_of_a_tuned_loss_covers_its_score():
    rng = np.random.default_rng(3)
    rows = [row for _ in range(300) for row in error_rates.equal_trials(rng, 2, 3, 5).rows]
    covered = [
        abs(row.estimates["test/top1"].mean - 0.5) <= row.estimates["test/top1"].half_width
        for row in rows
    ]

    assert fmean(covered) > 0.95 - 3 * (0.05 * 0.95 / len(rows)) ** 0.5


@pytest.mark.parametrize("number", [3, 10])
def test_a_real_difference_is_still_found(number):
    rng = np.random.default_rng(4)
    runs = []
    for loss in error_rates.losses(number):
        for seed in range(5):
            scores = error_rates.scores(rng)
            if loss == "loss1":
                scores = {key: score + 0.1 for key, score in scores.items()}
            runs.append(error_rates.run_of(loss, seed, scores))
    (found,) = error_rates.compare(runs)
    verdicts = {
        each.label: each.verdict for each in found.contrasts if each.yardstick.key == "test_ts/nll"
    }

    assert verdicts["loss1"] == "worse"
    assert found.leaders["test/top1"].best == "loss1"
