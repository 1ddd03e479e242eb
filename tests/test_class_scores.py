"""The table of classes: scikit-learn's numbers, the band by chance, and what is shown."""

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from xent_bench.evaluation.class_table import class_table, classes_of, write_class_scores
from xent_bench.links import margin, softmax
from xent_bench.metrics.class_scores import answer_gaps, class_scores
from xent_bench.metrics.examples import examine
from xent_bench.runs.predictions import Predicted, Predictions, save


def drawn(n: int, classes: int, sharpness: float = 1.0, seed: int = 0):
    """Outputs of a net that is calibrated if its sharpness is 1; no image of the last class."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, classes))
    logits[:, -1] -= 100
    target = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return sharpness * logits, target


def kept(folder: Path, logits, target, link=softmax, names: str = "") -> Path:
    parts = [
        Predicted(split, logits.astype(np.float32), target, np.arange(len(logits)))
        for split in ("calib", "test")
    ]
    classes = tuple(names or [f"class {k}" for k in range(logits.shape[1])])
    save(Predictions(*parts, partial(link), classes), folder / "predictions.npz")
    return folder


def test_recall_precision_and_f1_are_those_of_scikit_learn():
    logits, target = drawn(500, 6)
    found = class_scores(examine(logits, target, softmax), 6)
    answer = logits.argmax(axis=1)
    precision, recall, f1, images = precision_recall_fscore_support(
        target, answer, labels=range(6), zero_division=np.nan
    )

    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_allclose(found.recall, recall)
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.f1[:5], f1[:5])
    assert np.isnan(found.f1[5])  # no image, and never answered
    np.testing.assert_array_equal(found.answers, np.bincount(answer, minlength=6))
    rates = recall[:5] * (1 - recall[:5])
    np.testing.assert_allclose(found.recall_error[:5], np.sqrt(rates / (images[:5] - 1)))


def test_the_class_that_a_class_is_taken_for_is_the_largest_of_its_row():
    logits, target = drawn(500, 6)
    found = class_scores(examine(logits, target, softmax), 6)
    matrix = confusion_matrix(target, logits.argmax(axis=1), labels=range(6))
    np.fill_diagonal(matrix, 0)

    assert found.taken_for.tolist() == [*matrix.argmax(axis=1)[:5], -1]
    assert found.taken.tolist() == matrix.max(axis=1).tolist()


def test_a_class_that_is_never_answered_has_an_f1_of_0_and_no_precision():
    logits = np.array([[2.0, 0, 0], [2, 0, 0]])
    found = class_scores(examine(logits, np.array([0, 1]), softmax), 3)

    np.testing.assert_allclose(found.f1, [2 / 3, 0, np.nan])
    np.testing.assert_allclose(found.precision, [0.5, np.nan, np.nan])


def test_votes_of_people_count_in_parts():
    q = np.array([[0.7, 0.3, 0], [0.2, 0.8, 0], [0.5, 0.5, 0]])
    logits = np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]])
    found = class_scores(examine(logits, q, softmax), 3)

    np.testing.assert_allclose(found.images, [1.4, 1.6, 0])
    np.testing.assert_allclose(found.recall, [1.2 / 1.4, 0.8 / 1.6, np.nan])
    np.testing.assert_allclose(found.precision, [1.2 / 2, 0.8, np.nan])


def test_a_gap_is_the_confidence_of_the_answers_less_their_precision():
    logits, target = drawn(500, 6, sharpness=3)
    examples = examine(logits, target, softmax)
    gaps, scores = answer_gaps(examples, 6), class_scores(examples, 6)
    p, answer = np.exp(softmax(logits)).max(axis=1), logits.argmax(axis=1)
    confidence = [p[answer == k].mean() for k in range(5)]

    np.testing.assert_allclose(gaps.confidence, [*confidence, np.nan])
    np.testing.assert_allclose(gaps.gap, gaps.confidence - scores.precision)
    assert gaps.is_outside[:5].all()  # far too sure
    assert answer_gaps(examine(logits, target, margin), 6) is None


def test_the_band_by_chance_is_binomial_where_all_confidences_are_equal():
    n, p = 400, 0.8
    logits = np.tile([np.log(p / (1 - p)), 0], (n, 1))
    gaps = answer_gaps(examine(logits, np.zeros(n, dtype=int), softmax), 2)
    low, high = binom(n, p).ppf([0.025, 0.975])

    assert gaps.low[0] == pytest.approx(p - high / n, abs=2 / n)  # 1,000 draws: two images off
    assert gaps.high[0] == pytest.approx(p - low / n, abs=2 / n)


def test_at_most_five_in_a_hundred_classes_of_a_calibrated_net_are_outside_by_chance():
    outside = []
    for seed in range(100):
        gaps = answer_gaps(examine(*drawn(300, 11, seed=seed), softmax), 11)
        outside += gaps.is_outside[~np.isnan(gaps.gap)].tolist()

    assert np.mean(outside) < 0.05 + 3 * (0.05 * 0.95 / len(outside)) ** 0.5
    assert np.mean(outside) > 0.02  # the band is no wider than it must be


def test_the_table_begins_with_the_lowest_f1_and_says_where_the_others_are(tmp_path):
    logits, target = drawn(3000, 40)
    classes = classes_of(kept(tmp_path, logits, target))
    table = class_table("ce-s0", classes)
    shown = [float(row[3]) for row in table.rows]
    file = write_class_scores(classes, tmp_path)
    with file.open() as opened:
        rows = list(csv.DictReader(opened))

    assert len(table.rows) == 20
    assert shown == sorted(shown)
    assert shown[0] == pytest.approx(100 * np.nanmin(classes.scores.f1), abs=0.05)
    assert "These are 20 of 40 classes; class_scores.csv in the folder has all." in table.notes
    assert [row["class"] for row in rows] == list(classes.names)
    recall = [float(row["recall"]) for row in rows[:-1]]
    np.testing.assert_allclose(recall, classes.scores.recall[:-1], atol=1e-6)
    assert rows[-1]["f1"] == rows[-1]["gap"] == ""
    assert {"scaled_gap", "scaled_gap_by_chance_low", "taken_for"} <= rows[0].keys()


def test_a_hinge_has_the_gap_of_its_scaled_scores_alone(tmp_path):
    classes = classes_of(kept(tmp_path, *drawn(300, 4), link=margin))
    table = class_table("hinge-s0", classes)

    assert classes.gaps.keys() == {"test_ts"}
    assert all(row[7] == "- " for row in table.rows)
    assert "As trained the scores are no probabilities; conf. is that after scaling." in table.notes


def test_the_stars_are_the_classes_outside_and_the_note_counts_them(tmp_path):
    classes = classes_of(kept(tmp_path, *drawn(2000, 6, sharpness=2)))
    table = class_table("ce-s0", classes)

    assert sum(row[7].endswith("*") for row in table.rows) == 5
    (note,) = [note for note in table.notes if "as trained" in note]
    assert "as trained 5 of 5 classes; a calibrated net has at most 0.25 on average" in note
