"""What a sweep until it is decided costs: the page's tables, and the code that they come from."""

import math
import sys

import numpy as np
import pytest
from conftest import ROOT
from scipy import stats

sys.path.insert(0, str(ROOT / "scripts"))

import expected_seeds

from xent_bench.comparison.expected_seeds import longest, stops, stops_with_power
from xent_bench.comparison.sequential import LOOKS, decide, next_seeds
from xent_bench.comparison.stats import seeds_needed

PAGE = expected_seeds.PAGE.read_text()


def swept(deltas: np.ndarray) -> tuple[list[int], list[bool]]:
    """Seeds of each loss and whether it is better, by the loop that adds seeds as a sweep does."""
    scores = {"ce": [0.0] * 30} | {f"loss{i}": row.tolist() for i, row in enumerate(deltas)}
    have: dict[str, list[float]] = {label: [] for label in scores}
    while True:
        decisions = decide(have, "ce", LOOKS, 1e-9, 1)
        needed = next_seeds(have, "ce", LOOKS, decisions)
        if not needed:
            return [d.n for d in decisions], [d.verdict == "better" for d in decisions]
        have |= {label: scores[label][:n] for label, n in needed.items()}


@pytest.mark.parametrize("effects", [(0.0,) * 4, (0.75,), (0.5, 1.0, 1.5)])
def test_many_sweeps_at_once_are_the_sweeps_one_by_one(effects):
    deltas = expected_seeds.differences(np.random.default_rng(3), 25, effects)
    seeds, better = expected_seeds.until_decided(deltas)

    for sweep, n, is_better in zip(deltas, seeds.tolist(), better.tolist(), strict=True):
        assert swept(sweep) == (n, is_better)


def test_the_page_has_the_tables_that_the_script_writes():
    looks = expected_seeds.between(PAGE, "looks", expected_seeds.looks_table())
    rows = list(expected_seeds.all_rows())

    assert looks == PAGE
    assert expected_seeds.between(PAGE, "expected seeds", expected_seeds.seeds_table(rows)) == PAGE
    of_one = [row for row in rows if len(row.effects) == 1]
    assert [row.effects[0] for row in of_one] == [0.75, 1, 1.5, 2]
    assert all(row.saved >= 0.3 for row in of_one)


@pytest.mark.parametrize("effect", expected_seeds.EFFECTS)
def test_the_cost_of_a_question_is_that_of_the_sweeps_that_ask_it(effect):
    deltas = expected_seeds.differences(np.random.default_rng(4), 8000, (effect,))
    seeds, better = expected_seeds.until_decided(deltas)
    course = stops(effect, LOOKS)

    assert course.mean == pytest.approx(seeds.mean(), abs=4 * seeds.std() / 8000**0.5)
    assert course.power == pytest.approx(better.mean(), abs=0.01)
    assert sum(course.shares) == pytest.approx(1)


def test_a_design_of_one_look_has_the_power_of_the_t_test():
    course = stops(1.0, (9,))
    critical = stats.t.ppf(0.975, 8)

    assert course.mean == pytest.approx(9)
    assert course.power == pytest.approx(stats.nct.sf(critical, 8, 3.0), abs=0.01)


@pytest.mark.parametrize("effect", [0.7, 1.0, 3.0])
def test_a_small_design_that_finds_a_difference_is_asked_for(effect):
    level = 0.05 / 4
    course = stops_with_power(effect, level)
    fixed = seeds_needed(effect, 1.0, level)

    assert course.power >= 0.8
    assert fixed <= course.looks[-1] <= math.ceil(1.25 * fixed)
    assert course.mean < fixed + 1


def test_a_question_that_needs_a_thousand_seeds_has_no_cost():
    assert stops_with_power(0.01) is None


def test_the_baseline_runs_as_long_as_the_last_of_the_losses():
    one = stops(1.0, LOOKS)
    rng = np.random.default_rng(5)
    drawn = rng.choice(LOOKS, p=np.array(one.shares) / sum(one.shares), size=(40_000, 3))

    assert longest([one]) == pytest.approx(one.mean)
    assert longest([one] * 3) == pytest.approx(drawn.max(axis=1).mean(), rel=0.01)
    assert math.isclose(longest([one, one._replace(shares=(1, 0, 0, 0, 0, 0))]), one.mean)
