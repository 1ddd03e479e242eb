"""Scores by class size: groups, recalls, and scores at train's class frequencies."""

import csv
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, recall_score
from torch.nn import functional as F

from xent_bench.evaluation.classes_file import write_classes
from xent_bench.evaluation.evaluate import evaluate
from xent_bench.links import margin, softmax
from xent_bench.losses.balanced_softmax import balanced_softmax
from xent_bench.losses.ldam import ldam
from xent_bench.losses.logit_adjustment import logit_adjustment
from xent_bench.losses.weighted_ce import weighted_ce
from xent_bench.metrics.by_class import by_class_size, by_class_size_errors, recalls
from xent_bench.metrics.calibration import ece
from xent_bench.metrics.class_sizes import (
    differ,
    frequencies,
    groups_of,
    is_uneven,
    published_group,
)
from xent_bench.metrics.examples import Examples, examine
from xent_bench.metrics.score import score
from xent_bench.metrics.train_prior import (
    under_train_prior,
    under_train_prior_errors,
)
from xent_bench.runs.predictions import Predictions, predicted

C = 6
COUNTS = np.array([500.0, 251, 126, 63, 32, 16])
LONG_TAIL = torch.tensor([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])


def answered(n: int = 1200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outputs that are right more often for the first classes."""
    rng = np.random.default_rng(seed)
    target = rng.integers(C, size=n)
    z = rng.normal(size=(n, C))
    z[np.arange(n), target] += 2 - 0.4 * target
    return z, target


@pytest.fixture
def test_examples() -> Examples:
    return examine(*answered(), softmax)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], "MMM....FFF"),
        ([1, 2, 3], "F.M"),
        ([5] * 5 + [1] * 5, "MMMMMFFFFF"),
        ([5, 5, 1], "MMF"),
        ([1, 9], "FM"),
        ([7, 7, 7], "..."),
    ],
)
def test_groups_are_thirds_of_the_classes_and_classes_of_one_size_stay_together(counts, expected):
    letters = {"many": "M", "medium": ".", "few": "F"}

    assert "".join(letters[group] for group in groups_of(np.array(counts, float))) == expected


def test_the_published_limits_are_100_and_20_images():
    assert [published_group(n) for n in (101.0, 100.0, 20.0, 19.0)] == [
        "many",
        "medium",
        "medium",
        "few",
    ]


def test_classes_differ_from_a_ratio_of_two_on():
    assert is_uneven(np.array([20.0, 10]))
    assert not is_uneven(np.array([19.9, 10]))
    assert is_uneven(np.array([5.0, 0]))
    assert differ(np.array([2.0, 2]), np.array([1.0, 3]))
    assert not differ(np.array([200.0, 110]), np.array([5.0, 5]))
    assert frequencies(np.array([3.0, 0])).tolist() == [0.875, 0.125]


def test_recalls_are_those_of_scikit_learn(test_examples):
    z, target = answered()
    recall, error, images = recalls(test_examples, C)

    expected = recall_score(target, z.argmax(axis=1), average=None)
    np.testing.assert_allclose(recall, expected)
    np.testing.assert_array_equal(images, np.bincount(target))
    np.testing.assert_allclose(error, np.sqrt(expected * (1 - expected) / (images - 1)))


def test_recalls_of_one_hot_rows_are_those_of_their_classes(test_examples):
    z, target = answered()
    soft = examine(z, np.eye(C)[target], softmax)

    np.testing.assert_allclose(recalls(soft, C).recall, recalls(test_examples, C).recall)
    assert by_class_size(soft, COUNTS) == pytest.approx(by_class_size(test_examples, COUNTS))
    assert by_class_size_errors(soft, COUNTS) == {}
    assert under_train_prior(soft, COUNTS) == under_train_prior_errors(soft, COUNTS) == {}


def test_the_groups_are_means_of_recalls_and_the_worst_is_the_least(test_examples):
    recall = recalls(test_examples, C).recall

    assert by_class_size(test_examples, COUNTS) == pytest.approx(
        {
            "top1_many": recall[:2].mean(),
            "top1_medium": recall[2:4].mean(),
            "top1_few": recall[4:].mean(),
            "worst_class_top1": recall.min(),
        }
    )


def test_a_class_without_a_test_image_is_left_out():
    z, target = answered()
    seen = target < 5
    examples = examine(z[seen], target[seen], softmax)
    recall = recalls(examples, C).recall

    assert np.isnan(recall[5])
    assert by_class_size(examples, COUNTS)["top1_few"] == recall[4]
    scores = under_train_prior(examples, COUNTS)
    shares = COUNTS[:5] / COUNTS[:5].sum()
    assert scores["top1_train_prior"] == pytest.approx(shares @ recall[:5])


def test_scores_at_the_frequencies_of_train_are_those_of_scikit_learn(test_examples):
    z, target = answered()
    weights = (COUNTS / COUNTS.sum() / (np.bincount(target) / len(target)))[target]
    p = np.exp(softmax(z))
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == target
    gaps = sum(
        abs((weights * (confidence - correct))[inside].sum())
        for k in range(15)
        for inside in [(confidence > k / 15) & (confidence <= (k + 1) / 15)]
    )
    brier = (weights * ((p - np.eye(C)[target]) ** 2).sum(axis=1)).sum()

    assert under_train_prior(test_examples, COUNTS) == pytest.approx(
        {
            "top1_train_prior": accuracy_score(target, z.argmax(axis=1), sample_weight=weights),
            "nll_train_prior": log_loss(target, p, sample_weight=weights),
            "brier_train_prior": brier / weights.sum(),
            "ece_train_prior": gaps / weights.sum(),
        }
    )


def test_at_the_frequencies_of_test_they_are_the_usual_scores():
    rng = np.random.default_rng(0)
    z, target = 2 * rng.normal(size=(2000, 30)), rng.integers(30, size=2000)
    usual = score(z, target)
    examples, counts = examine(z, target, softmax), np.bincount(target).astype(float)

    assert np.ptp(np.exp(softmax(z)).max(axis=1)) > 0.8  # every bin has some
    for name, value in under_train_prior(examples, counts).items():
        assert value == pytest.approx(usual[name.removesuffix("_train_prior")])


def test_the_bins_are_those_of_the_usual_ece():
    """Answers in neighbouring bins, at whose shared edge one lies, wrong and right by turns."""
    confidence = np.array([1 / 15, 0.1, 0.5, 0.55, 14 / 15, 0.99])
    p = np.repeat((1 - confidence)[:, None] / 29, 30, axis=1)
    p[:, 0] = confidence
    target = np.array([0, 1, 0, 1, 0, 1])
    examples = examine(np.log(p), target, softmax)

    found = under_train_prior(examples, np.bincount(target, minlength=30).astype(float))
    assert found["ece_train_prior"] == pytest.approx(ece(examples.ranked))
    assert ece(examples.ranked) > 0.4


def test_scores_without_probabilities_are_accuracies_alone():
    examples = examine(*answered(), margin)

    assert under_train_prior(examples, COUNTS).keys() == {"top1_train_prior"}
    assert under_train_prior_errors(examples, COUNTS).keys() == {"top1_train_prior"}


def test_standard_errors_are_the_spread_over_other_test_images():
    """Of 200 test sets with the same class sizes; of the ECE, the resamples vary the sizes too."""
    scores, errors = [], []
    for seed in range(200):
        target = np.arange(1200) % C
        z = np.random.default_rng(seed).normal(size=(1200, C))
        z[np.arange(1200), target] += 2 - 0.4 * target
        examples = examine(z, target, softmax)
        scores.append(by_class_size(examples, COUNTS) | under_train_prior(examples, COUNTS))
        errors.append(
            by_class_size_errors(examples, COUNTS) | under_train_prior_errors(examples, COUNTS)
        )

    assert scores[0].keys() - errors[0].keys() == {"worst_class_top1"}
    for name in errors[0]:
        spread = np.std([of_seed[name] for of_seed in scores], ddof=1)
        rel = 0.4 if name == "ece_train_prior" else 0.15
        assert np.mean([of_seed[name] for of_seed in errors]) == pytest.approx(spread, rel=rel)


def test_a_class_with_one_test_image_has_no_standard_error():
    z, target = answered()
    keep = (target != 5) | (np.cumsum(target == 5) == 1)
    examples = examine(z[keep], target[keep], softmax)

    assert by_class_size_errors(examples, COUNTS).keys() == {"top1_many", "top1_medium"}
    assert under_train_prior_errors(examples, COUNTS).keys() == {"ece_train_prior"}


def predictions(train_counts: np.ndarray | None = COUNTS, link=softmax) -> Predictions:
    splits = (
        predicted(name, *answered(seed=place), np.arange(1200))
        for place, name in enumerate(("calib", "test"))
    )
    names = ("ant", "bee", "c,t", "dog", "elk", "fox")
    return Predictions(*splits, partial(link), names, train_counts=train_counts)


def test_the_table_of_classes_has_their_sizes_groups_and_recalls(tmp_path):
    given = predictions()
    evaluation = evaluate(given)
    write_classes(evaluation, given.classes, given.train_counts, tmp_path)
    with (tmp_path / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    z, target = given.test.outputs, given.test.target
    expected = recall_score(target, z.argmax(axis=1), average=None)
    assert [row["class"] for row in rows] == list(given.classes)
    assert [float(row["train_images"]) for row in rows] == COUNTS.tolist()
    assert [row["group"] for row in rows] == ["many", "many", "medium", "medium", "few", "few"]
    assert [row["group_100_20"] for row in rows] == ["many"] * 3 + ["medium"] * 2 + ["few"]
    assert [float(row["recall"]) for row in rows] == pytest.approx(expected, abs=1e-6)
    assert [int(row["test_images"]) for row in rows] == np.bincount(target).tolist()
    assert [int(row["answers"]) for row in rows] == np.bincount(z.argmax(axis=1)).tolist()
    confidence = np.exp(softmax(z)).max(axis=1)
    means = [confidence[target == k].mean() for k in range(C)]
    assert [float(row["confidence"]) for row in rows] == pytest.approx(means, abs=1e-6)
    corrected = [float(row["recall_after_prior_correction"]) for row in rows]
    assert np.mean(corrected) == pytest.approx(evaluation.metrics["test_pc/balanced_top1"])


def test_without_probabilities_the_table_has_no_confidence_and_without_sizes_there_is_none(
    tmp_path,
):
    given = predictions(link=margin)
    write_classes(evaluate(given), given.classes, given.train_counts, tmp_path)
    header = (tmp_path / "classes.csv").read_text().splitlines()[0].split(",")

    assert "confidence" not in header
    assert "confidence_after_prior_correction" in header
    for counts in (None, np.full(C, 50.0)):
        assert write_classes(evaluate(given), given.classes, counts, tmp_path) == []


def torch_logits() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(64, 10, generator=rng, dtype=torch.float64)
    return z, torch.randint(10, (64,), generator=rng)


def test_losses_for_rare_classes_follow_their_sources_under_a_long_tail():
    """Formulas as the authors' code has them, for the class sizes of CIFAR-10-LT."""
    z, y = torch_logits()
    n = LONG_TAIL.double()
    margins = 1 / n.sqrt().sqrt()
    margins = margins * (0.5 / margins.max())  # Cao et al.: the largest margin is 0.5
    at_true = z - margins * F.one_hot(y, 10)
    weights = 1 / n  # King and Zeng: classes count equally; mean 1 over train
    weights = weights / (weights * n).sum() * n.sum()
    in_train = n / n.sum()

    def same(found: torch.Tensor, expected: torch.Tensor) -> None:
        torch.testing.assert_close(found, expected)

    same(ldam(z, y, class_counts=LONG_TAIL), F.cross_entropy(at_true, y, reduction="none"))
    same(
        weighted_ce(z, y, class_counts=LONG_TAIL),
        F.cross_entropy(z, y, weight=weights, reduction="none"),
    )
    p = n * z.exp() / (n * z.exp()).sum(dim=1, keepdim=True)  # Ren et al., eq. 4
    same(balanced_softmax(z, y, class_counts=LONG_TAIL), -p[torch.arange(64), y].log())
    # Menon et al., eq. 10: log(1 + sum over others of (pi_k / pi_y)^tau exp(z_k - z_y))
    ratio = (in_train / in_train[y][:, None]) ** 1.5 * (z - z.gather(1, y[:, None])).exp()
    expected = ratio.sum(dim=1).log()
    same(logit_adjustment(z, y, class_counts=LONG_TAIL, tau=1.5), expected)
