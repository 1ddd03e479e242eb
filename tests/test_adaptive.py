"""The adaptive search: what Optuna proposes from earlier trials, the same on every machine."""

import math
from collections.abc import Callable
from importlib.util import find_spec

import pytest
from conftest import answer

from xent_bench.commands import train
from xent_bench.designs.adaptive import BATCH, FIRST, batch_after, next_points
from xent_bench.designs.dimensions import Choices, Interval, Point, Space
from xent_bench.designs.sobol import sobol_points
from xent_bench.exit_codes import Exit

needs_optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="an extra")

SPACE = Space(
    "focal",
    (
        Choices("optimizer", ("adamw", "sgd")),
        Interval("optimizer.lr", 1e-4, 1e-1, log=True),
    ),
    (Interval("loss.gamma", 1, 5, whole=True),),
)


def score(point: Point) -> float | None:
    """A score with its best value 0 at lr = 0.01, gamma = 3 and adamw; too large rates diverge."""
    values = dict(word.split("=") for word in point)
    lr = float(values["optimizer.lr"])
    if lr > 0.05:
        return None
    off = (math.log10(lr) + 2) ** 2 + 0.1 * (int(values["loss.gamma"]) - 3) ** 2
    return -off - 0.3 * (values["optimizer"] == "sgd")


def searched(
    space: Space, trials: int, seed: int, score: Callable[[Point], float | None], sign: int = 1
) -> tuple[list[Point], list[float | None]]:
    """The trials of a search and their scores, batch by batch; sign -1: the smaller the better."""
    points: list[Point] = []
    scores: list[float | None] = []
    while number := batch_after(len(points), trials):
        batch = next_points(space, points, scores, number, seed, sign > 0)
        points += batch
        scores += [None if (value := score(point)) is None else sign * value for point in batch]
    return points, scores


@needs_optuna
def test_a_search_that_is_replayed_has_the_same_points_and_a_longer_one_begins_with_them():
    short, long, again, other = (
        searched(SPACE, trials, seed, score)[0]
        for trials, seed in ((13, 0), (20, 0), (20, 0), (20, 1))
    )

    assert long == again
    assert long[:13] == short
    assert long[:FIRST] == sobol_points(SPACE, FIRST, 0)
    assert not set(long[FIRST:]) & set(other[FIRST:])
    assert len(set(long)) == 20


@needs_optuna
@pytest.mark.parametrize("sign", [1, -1])
def test_a_search_finds_better_points_than_an_even_one(sign):
    """Means of the best of 24 over 5 seeds; the score is that of a smooth bowl."""
    adaptive, even = 0.0, 0.0
    for seed in range(5):
        scores = [value for value in searched(SPACE, 24, seed, score, sign)[1] if value is not None]
        adaptive += max(sign * value for value in scores)
        evenly = [score(point) for point in sobol_points(SPACE, 24, seed)]
        even += max(value for value in evenly if value is not None)

    assert adaptive > even


@needs_optuna
def test_trials_that_failed_keep_others_away():
    points = sobol_points(SPACE, FIRST, 0)
    scores = [None if "optimizer=sgd" in point else 1.0 for point in points]
    proposed = next_points(SPACE, points, scores, 16, 0, larger_is_better=True)
    nothing_known = next_points(SPACE, points, [None] * FIRST, 4, 0, larger_is_better=True)

    assert sum("optimizer=adamw" in point for point in proposed) >= 12
    assert len(set(nothing_known)) == 4


@needs_optuna
def test_a_space_of_few_points_is_tried_to_its_end_and_no_point_twice():
    few = Space(
        "ce", (Choices("clip_norm", ("1", "2", "4")), Interval("ema", 1, 4, whole=True)), ()
    )
    points, scores = searched(few, 12, 0, lambda point: float("clip_norm=1" in point))

    assert len(set(points)) == 12
    assert next_points(few, points, scores, BATCH, 0, larger_is_better=True) == []


@needs_optuna
def test_words_beside_the_point_and_the_names_of_other_losses_change_nothing_but_the_draws():
    points = sobol_points(SPACE, FIRST, 0)
    scores = [score(point) for point in points]
    longer = [("epochs=3", *point, "loss.weight=2") for point in points]
    of_other = next_points(SPACE._replace(loss="ce"), points, scores, 4, 0, larger_is_better=True)

    assert next_points(SPACE, longer, scores, 4, 0, larger_is_better=True) == next_points(
        SPACE, points, scores, 4, 0, larger_is_better=True
    )
    assert of_other != next_points(SPACE, points, scores, 4, 0, larger_is_better=True)


@pytest.mark.parametrize(
    ("trials", "batches"), [(1, [1]), (8, [8]), (9, [8, 1]), (20, [8, 4, 4, 4])]
)
def test_batches_do_not_depend_on_the_machine(trials, batches):
    begun = 0
    for batch in batches:
        assert batch_after(begun, trials) == batch
        begun += batch

    assert batch_after(begun, trials) == 0


@pytest.mark.usefixtures("place")
def test_where_optuna_is_not_installed_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr("xent_bench.designs.adaptive.find_spec", lambda _: None)
    words = ("-m", "optimizer.lr=interval(1e-4,1)", "trials=9", "sampler=tpe")

    assert answer(train.main, *words) == Exit.USAGE
    assert "sampler: tpe needs pip install 'xent-bench[optuna]'" in capsys.readouterr().err
