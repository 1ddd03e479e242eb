"""xent-losses --at: every step from scores to values of losses, against numbers by hand."""

import csv
import io
import sys
from math import exp, log

import numpy as np
import pytest
from scipy.special import softmax

from xent_bench.certificates.worked_example import example, losses_at
from xent_bench.commands.losses import load_losses, main

SCORES = "dog=-3.44,cat=1.16,panda=3.91"
PANDA = example(SCORES, "panda", None)
VOTES = example(SCORES, None, "dog=.5,cat=.3,panda=.2")
P = softmax([-3.44, 1.16, 3.91])


@pytest.fixture
def typed(monkeypatch, capsys):
    """Type a command; returns what it prints."""

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["xent-losses", *words])
        main()
        return capsys.readouterr().out

    return run


def test_the_steps_of_a_softmax_are_shown_with_nats_and_bits(typed):
    shown = typed("ce", "--at", SCORES, "--true", "panda")
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line.strip()}

    assert lines["dog"][1:5] == ["-3.44", "0.03", "0.0006", "0"]
    assert lines["cat"][1:5] == ["1.16", "3.19", "0.0601", "0"]
    assert lines["panda"] == ["panda", "3.91", "49.90", "0.9393", "1", "0.0626", "0.0903"]
    assert lines["sum"][1] == "53.12"
    assert lines["ce"][1:5] == ["0.0626", "nats", "0.0903", "0.0000"]
    assert lines["ce"][5:] == ["+0.0006", "+0.0601", "-0.0607"]


def test_entropy_and_divergence_add_up_to_cross_entropy(typed):
    shown = typed("ce", "kl", "--at", SCORES, "--target", "dog=.5,cat=.3,panda=.2")
    q = np.array([0.5, 0.3, 0.2])
    cross, entropy = -(q @ np.log(P)), -(q @ np.log(q))

    assert f"H(q, p) = -sum q log p: {cross:.4f} nats" in shown
    assert f"entropy of the label H(q): {entropy:.4f} nats, {entropy / log(2):.4f} bits" in shown
    assert f"KL(q || p) = H(q, p) - H(q): {cross - entropy:.4f} nats" in shown


def test_csv_has_a_column_for_the_gradient_by_each_class(typed):
    shown = typed(
        *("sparse_ce", "ce", "--at", "dog=1,cat=2", "--target", "dog=.5,cat=.5"),
        *("--format", "csv"),
    )
    without, record = csv.DictReader(io.StringIO(shown))

    slope = 1 / (1 + exp(-1)) - 0.5
    assert (record["loss"], record["in_nats"]) == ("ce", "True")
    assert float(record["gradient/cat"]) == pytest.approx(slope)
    assert float(record["gradient/dog"]) == pytest.approx(-slope)
    assert float(record["least"]) == pytest.approx(log(2))
    assert [value for value in without.values() if value] == ["sparse_ce"]


def test_values_and_gradients_are_those_by_hand():
    at = losses_at(load_losses(["ce", "hinge", "brier"]), example(SCORES, "cat", None))
    one_hot = np.array([0, 1, 0])
    brier_gradient = 2 * P * ((P - one_hot) - P @ (P - one_hot))

    assert at["ce"].value == pytest.approx(-log(P[1]))
    assert at["ce"].gradient == pytest.approx(tuple(P - one_hot))
    assert at["hinge"].value == pytest.approx(1 + 3.91 - 1.16)
    assert at["hinge"].gradient == (0, -1, 1)
    assert at["brier"].value == pytest.approx(np.square(P - one_hot).sum())
    assert at["brier"].gradient == pytest.approx(tuple(brier_gradient))


@pytest.mark.parametrize(
    ("loss", "given", "least"),
    [
        ("ce", PANDA, 0),
        ("ce", VOTES, -sum(q * log(q) for q in (0.5, 0.3, 0.2))),  # the entropy of the label
        ("kl", VOTES, 0),
        # -log of the best p under a smoothed label is the entropy of that label
        (
            *("label_smoothing", PANDA),
            -(14 / 15) * log(14 / 15) - (2 / 30) * log(1 / 30),
        ),
        ("squared_hinge", PANDA, 0),
        ("mse", VOTES, 0),
    ],
)
def test_the_least_value_of_a_loss_is_that_of_its_formula(loss, given, least):
    at = losses_at(load_losses([loss]), given)[loss]

    assert at.least == pytest.approx(least, abs=1e-8)


def test_no_loss_is_below_its_least_value_and_soft_labels_are_for_some_alone():
    losses = load_losses([])
    at, votes = losses_at(losses, PANDA), losses_at(losses, VOTES)

    assert all(point.least <= point.value for point in at.values())
    assert votes["hinge"] is None
    assert votes["ce"] is not None


def test_a_score_as_large_as_they_may_be_has_finite_steps(typed):
    shown = typed("ce", "--at", "dog=700,cat=-700", "--true", "cat")

    assert f"{exp(700):.2g}" in shown
    assert "1400.0000" in shown


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--at", "dog=1,cat=2"], "expected --true CLASS or --target CLASS=SHARE,... with it"),
        (["--at", "dog=1", "--true", "dog"], "expected the scores of two classes at least"),
        (["--at", "dog=1,cat=x", "--true", "cat"], "got 'cat=x'"),
        (["--at", "dog=1,dog=2", "--true", "dog"], "each class once"),
        (["--at", "dog=1e9,cat=2", "--true", "dog"], "between -700 and 700"),
        (["--at", "dog=nan,cat=2", "--true", "dog"], "got 'dog=nan'"),
        (["--at", "dog=1,cat=2", "--true", "fish"], "expected a class of --at (dog, cat): fish"),
        (["--at", "dog=1,cat=2", "--target", "dog=.5,cat=.6"], "that sum to 1, got 1.1"),
        (["--at", "dog=1,cat=2", "--target", "dog=-1,cat=2"], "of at least 0"),
        (["--true", "dog"], "expected scores, as in --at"),
    ],
)
def test_an_example_that_is_none_is_refused_in_one_line(monkeypatch, capsys, words, complaint):
    monkeypatch.setattr(sys, "argv", ["xent-losses", "ce", *words])

    with pytest.raises(SystemExit, match="2"):
        main()

    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_losses_that_depend_on_class_sizes_say_which_were_taken(typed):
    shown = " ".join(typed("ce", "ldam", "weighted_ce", "--at", SCORES, "--true", "cat").split())
    others = typed("ce", "--at", SCORES, "--true", "cat")

    assert "one image of each class in train, on whose numbers it depends: ldam and" in shown
    assert "in train" not in others
