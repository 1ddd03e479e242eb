"""The cost of answers: a file's mistakes, decisions by hand, thresholds, and what is claimed."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

from xent_bench.evaluation.cost_file import Costs, read_costs
from xent_bench.evaluation.cost_words import cost_table, costs_of_run
from xent_bench.evaluation.expected_cost import (
    Decision,
    best_threshold,
    change,
    compared,
    cost_of,
    decide,
    least_expected,
    right_threshold,
)
from xent_bench.failures import DataError
from xent_bench.links import margin, softmax
from xent_bench.runs.predictions import Predicted, Predictions, save
from xent_bench.runs.result import Run

ANIMALS = ("cat", "dog", "panda")
BINARY = Costs(("healthy", "ill"), np.array([[0.0, 1.0], [10.0, 0.0]]))


def written(folder: Path, text: str) -> Path:
    file = folder / "costs.csv"
    file.write_text(text, encoding="utf-8")
    return file


def split(name: str, logits: np.ndarray, target: np.ndarray) -> Predicted:
    return Predicted(name, logits, target, np.arange(len(logits)))


def predictions(n: int = 600, classes: int = 2, sharpness: float = 3.0, link=softmax):
    """A net that is too sure by a known factor."""
    rng = np.random.default_rng(0)
    logits = 1.5 * rng.normal(size=(2 * n, classes))
    target = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    calib, test = (
        split(name, sharpness * logits[part], target[part])
        for name, part in (("calib", slice(n)), ("test", slice(n, None)))
    )
    return Predictions(calib, test, partial(link), ANIMALS[:classes])


# --- the file


def test_names_may_come_in_any_order(tmp_path):
    text = "true,panda,cat,dog\ndog,1,2,0\npanda,0,3,4\ncat,5,0,6\n"
    costs = read_costs(written(tmp_path, text), ANIMALS)

    assert costs.names == ANIMALS
    assert costs.matrix.tolist() == [[0, 6, 5], [2, 0, 1], [3, 4, 0]]
    assert not costs.may_abstain
    assert costs.span == 6


def test_numbers_alone_are_in_the_order_of_the_classes_with_abstaining_last(tmp_path):
    costs = read_costs(written(tmp_path, "0,1,2,0.5\n3,0,1,0.5\n\n1,1,0,0.5\n"), ANIMALS)

    assert costs.matrix.tolist() == [[0, 1, 2, 0.5], [3, 0, 1, 0.5], [1, 1, 0, 0.5]]
    assert costs.may_abstain


def test_the_column_of_abstaining_may_stand_anywhere(tmp_path):
    text = "\ufeff,abstain,dog,cat\ncat,.3,1,0\ndog,.2,0,2\n"
    costs = read_costs(written(tmp_path, text), ANIMALS[:2])

    assert costs.matrix.tolist() == [[0, 1, 0.3], [2, 0, 0.2]]


def test_one_class_against_the_rest(tmp_path):
    text = "true,dog,rest\ndog,0,10\nrest,1,0\n"
    costs = read_costs(written(tmp_path, text), ANIMALS)

    assert (costs.names, costs.positive) == (("rest", "dog"), 1)
    assert costs.matrix.tolist() == [[0, 1], [10, 0]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "got an empty file"),
        ("0,1\n1,0\n", r"expected 3 rows of 3 costs, or of 4 .* got 2 rows of 2 numbers"),
        ("0,1,1\n1,0\n1,1,0\n", r"got 3 rows of 2 and 3 numbers"),
        ("0,1,1\n1,0,x\n1,1,0\n", "row 2: expected a finite number, got 'x'"),
        ("0,1,1\n1,0,nan\n1,1,0\n", "expected a finite number, got 'nan'"),
        ("0,1,1\n1,0,inf\n1,1,0\n", "expected a finite number, got 'inf'"),
        ("0,1,1\n1,2,1\n1,1,0\n", "true class 'dog': the right answer costs 2, more than 'cat'"),
        ("0,1,1,-1\n1,0,1,1\n1,1,0,1\n", "true class 'cat': .* more than 'abstain' with -1"),
        (",cat,dog,bear\n", "rows: 'cat' is missing"),
        (",cat,dog,bear\ncat,0,1,1\ndog,1,0,1\npanda,1,1,0\n", "columns: .* got 'bear'"),
        (",cat,dog,panda\ncat,0,1,1\ndog,1,0,1\ndog,1,1,0\n", "rows: 'dog' is there twice"),
        (",cat,dog\ncat,0,1\ndog,1,0\npanda,1,1\n", "columns: 'panda' is missing"),
        (",cat,dog,panda\ncat,0,1,1\ndog,1,0\npanda,1,1,0\n", "row 'dog': expected 3 costs, got 2"),
        (
            ",bear,rest\nbear,0,1\nrest,1,0\n",
            "no class is called 'bear': there are cat, dog, panda",
        ),
        (",rest,cat\nrest,0,1\nrest,0,1\n", "no class is called 'rest'"),
        (",cat,dog,panda\ncat,0,1,1\ndog,1,0,?\npanda,1,1,0\n", "row 'dog', column 'panda'"),
        ('"cat', "expected CSV in UTF-8"),
    ],
)
def test_a_mistake_in_the_file_gets_one_line_with_its_place(tmp_path, text, complaint):
    with pytest.raises(DataError, match=complaint) as caught:
        read_costs(written(tmp_path, text), ANIMALS)
    assert "costs.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_gets_one_line(tmp_path):
    for file in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(DataError, match="expected a CSV file with costs: no file"):
            read_costs(file, ANIMALS)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="expected CSV in UTF-8"):
        read_costs(tmp_path / "binary.csv", ANIMALS)


# --- decisions


def test_the_answer_of_least_expected_cost_is_that_of_every_answer_weighed():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 3))
    costs = Costs(ANIMALS, np.array([[0, 1, 5, 0.6], [2, 0, 1, 0.6], [9, 1, 0, 0.6]]))
    p = np.exp(softmax(logits))
    by_hand = [
        min(range(4), key=lambda a, row=row: sum(row[k] * costs.matrix[k, a] for k in range(3)))
        for row in p
    ]

    assert least_expected(logits, softmax, costs).tolist() == by_hand
    assert set(by_hand) == {0, 1, 2, 3}
    assert least_expected(logits, margin, costs) is None


def test_where_every_mistake_costs_the_same_the_likeliest_class_is_the_best_answer():
    costs = Costs(ANIMALS, 1 - np.eye(3))
    plain, raw, scaled = decide(predictions(classes=3), costs)

    assert (plain.cost == raw.cost).all()
    assert (plain.cost == scaled.cost).all()
    assert change(scaled, raw, costs).word == "not shown to differ"


def test_costs_are_those_of_the_true_class_or_their_mean_over_votes():
    answers = np.array([0, 1, 1])

    assert cost_of(answers, np.array([0, 0, 1]), BINARY).tolist() == [0, 1, 0]
    q = np.array([[0.8, 0.2], [0.5, 0.5], [0, 1]])
    np.testing.assert_allclose(cost_of(answers, q, BINARY), [2, 0.5, 0])
    rest = Costs(("rest", "dog"), BINARY.matrix, positive=1)
    assert cost_of(np.array([0, 1, 0]), np.array([1, 2, 0]), rest).tolist() == [10, 1, 0]


def test_scaling_an_overconfident_net_is_shown_to_cost_less():
    decisions = decide(predictions(3000), BINARY)
    words = {
        (after.rule, before.rule): difference.word
        for after, before, difference in compared(decisions, BINARY)
    }

    scaled = "least cost, temperature scaling"
    assert words[scaled, "least cost, as trained"] == "lower"
    assert words[scaled, "likeliest class"] == "lower"
    assert len(words) == 5


def test_one_class_against_the_rest_is_decided_by_its_probability():
    costs = Costs(("rest", "dog"), np.array([[0.0, 1.0], [4.0, 0.0]]), positive=1)
    given = predictions(classes=3)
    plain, raw, *_ = decide(given, costs)
    p = np.exp(softmax(given.test.outputs))[:, 1]
    true = given.test.target == 1

    expected = np.where(p > 0.2, 1.0 * ~true, 4.0 * true)
    np.testing.assert_array_equal(raw.cost, expected)
    likeliest = given.test.outputs.argmax(axis=1) == 1
    np.testing.assert_array_equal(plain.cost, np.where(likeliest, 1.0 * ~true, 4.0 * true))


# --- thresholds


def test_the_threshold_is_the_best_of_all_that_calib_tells_apart():
    rng = np.random.default_rng(0)
    p = rng.random(200).round(2)
    target = (rng.random(200) < p**2).astype(np.int64)
    calib = split("calib", np.zeros((200, 2)), target)
    found = best_threshold(p, calib, BINARY)

    def cost(threshold: float) -> float:
        return float(np.where(p >= threshold, 1.0 * (target == 0), 10.0 * (target == 1)).sum())

    assert cost(found) == min(cost(threshold) for threshold in [*np.unique(p), 2.0])
    assert right_threshold(BINARY) == pytest.approx(1 / 11)


def test_the_threshold_of_right_probabilities_is_that_of_the_costs():
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    calib = split("calib", np.zeros((200_000, 2)), (rng.random(200_000) < p).astype(np.int64))

    assert best_threshold(p, calib, BINARY) == pytest.approx(1 / 11, abs=0.02)


@pytest.mark.parametrize(("target", "expected"), [(0, np.inf), (1, 0.0)])
def test_a_calib_of_one_class_is_answered_with_it_alone(target, expected):
    calib = split("calib", np.zeros((3, 2)), np.full(3, target))

    assert best_threshold(np.array([0.2, 0.5, 0.9]), calib, BINARY) == expected


# --- claims


def test_an_interval_is_students_with_one_image_more_at_the_largest_difference():
    rng = np.random.default_rng(0)
    before, after = (
        Decision("a", "test", rng.choice([0.0, 1.0, 10.0], size=50), 0.0) for _ in range(2)
    )
    found = change(after, before, BINARY, comparisons=2)

    for sign, end in ((-1, found.low), (1, found.high)):
        oracle = ttest_rel(np.append(after.cost, sign * 10.0), np.append(before.cost, 0.0))
        interval = oracle.confidence_interval(0.975)
        assert end == pytest.approx(interval.low if sign < 0 else interval.high)
    assert found.mean == pytest.approx((after.cost - before.cost).mean())


def test_a_rare_and_dear_mistake_that_did_not_happen_is_reckoned_with():
    """Forty answers cost 1 less; one in 101 such would have cost 100 more: no gain on average."""
    before = Decision("a", "test", np.append(np.ones(40), np.zeros(400)), 0.0)
    after = Decision("b", "test_ts", np.zeros(440), 0.0)
    dear = Costs(("healthy", "ill"), np.array([[0.0, 1.0], [100.0, 0.0]]))

    assert change(after, before, BINARY).word == "lower"
    assert change(after, before, dear).word == "not shown to differ"


# --- what is shown


def run_of(**metrics: float) -> Run:
    return Run("ce-s0", "e", {"data": "d", "model": "m"}, metrics, {}, "", 600, 1.0)


def test_the_table_shows_every_rule_with_its_differences(tmp_path):
    given = predictions()
    save(given, tmp_path / "predictions.npz")
    file = written(tmp_path, ",cat,dog\ncat,0,1\ndog,10,0\n")
    table = costs_of_run(tmp_path, run_of(), file, ["structured_vector"])
    rules = [row[0] for row in table.rows]
    notes = " ".join(table.notes)

    assert rules == [
        "likeliest class",
        "as trained",
        "temperature scaling",
        "structured vector scaling",
        "best threshold of calib",
    ]
    assert all(len(row) == len(table.headings) == 4 for row in table.rows)
    assert "By the probabilities after temperature scaling the answers cost less than" in notes
    assert "if probabilities were right it would be 0.0909" in notes
    plain = decide(given, BINARY)[0]
    assert table.rows[0][1] == f"{plain.mean:.4g} ± {plain.error:.2g}"


def test_a_hinge_is_compared_after_scaling_alone():
    costs = Costs(ANIMALS, np.array([[0, 1, 1, 0.1], [1, 0, 1, 0.1], [1, 1, 0, 0.1]]))
    decisions = decide(predictions(classes=3, link=margin), costs)
    table = cost_table("hinge-s0", decisions, costs, 600)

    assert [row[0] for row in table.rows] == ["likeliest class", "temperature scaling"]
    assert "As trained the scores are no probabilities." in table.notes
    assert not [note for note in table.notes if note.startswith("By the probabilities")]
    assert float(table.rows[1][2]) > 10  # it abstains
