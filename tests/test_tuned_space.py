"""The space that a search has drawn from: what matters in it, and what lies around the choice."""

import csv
import io
import json
import math
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from compared_losses import compared
from searched_losses import LUCK, SEARCH, design, write_begun, write_paused, write_trial

from xent_bench.commands.report import main
from xent_bench.comparison.best_of_k import best_of_k
from xent_bench.comparison.importance import importance, importances, lines
from xent_bench.comparison.marginals import marginals
from xent_bench.comparison.spent import State, spent_by_loss
from xent_bench.comparison.standing import ranks, standings
from xent_bench.comparison.surroundings import surroundings
from xent_bench.comparison.tuned_space import Axis, axis_of
from xent_bench.runs.files import CURVES

UNIT = Axis(0.0, 1.0, is_log=False)
DECADES = [float(10 ** (-4 + 3 * place / 15)) for place in range(16)]


def write_points(root, loss="ce", number=16, **params):
    """A search over two hyper-parameters: the first decides, the second does nothing."""
    rng = np.random.default_rng(0)
    rates, decays = DECADES[:number], rng.permutation(16)[:number]
    tags = design(trials=number)
    for place, (lr, decay) in enumerate(zip(rates, decays, strict=True)):
        top1 = 0.9 - 0.001 * (place - 11) ** 2
        values = {"optimizer.lr": lr, "optimizer.weight_decay": 0.01 * float(decay)}
        write_trial(root, loss, top1, tags=tags, **values, **params)


def test_a_line_through_near_trials_is_that_of_weighted_least_squares():
    rng = np.random.default_rng(0)
    places, scores, at = rng.random(40), rng.standard_normal(40), np.array([0.0, 0.4, 1.0])
    weights = np.exp(-0.5 * ((places[None] - at[:, None]) / 0.3) ** 2)
    expected = [
        np.polyfit(places - here, scores, 1, w=np.sqrt(near))[1]
        for here, near in zip(at, weights, strict=True)
    ]

    assert lines(places, at, 0.3) @ scores == pytest.approx(expected, abs=0.02)  # the ridge


def test_a_trial_that_is_left_out_has_no_weight_in_its_own_prediction():
    places = np.random.default_rng(0).random(12)
    predictor = lines(places, places, 0.3, leave_out=True)

    assert np.diag(predictor) == pytest.approx(0)
    assert predictor.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(("noise", "share"), [(0.0, 1.0), (0.5, 0.25), (50.0, 0.0)])
def test_importance_is_the_share_of_the_variance_that_the_value_decides(noise, share):
    """x is uniform with variance 1/12, and the noise has the variance noise^2."""
    rng = np.random.default_rng(0)
    x = rng.random(400)
    scores = x + noise * rng.standard_normal(400)
    of_values, _, p = importance([str(value) for value in x], UNIT, scores)

    assert of_values == pytest.approx(share, abs=0.06)
    assert (p < 0.01) == (share > 0)


def test_the_importance_of_words_is_that_of_their_groups():
    """Analysis of variance by hand: groups explain 1 - 4 / 6 of what the mean leaves open."""
    words, order = ["a", "a", "b", "b", "c"], np.array([1.0, 2.0, 4.0, 5.0, 3.0])
    left = [1.0, 1.0, 1.0, 1.0, 0.0]  # squared errors of the other of a group; c: of all others
    total = sum((5 / 4 * (rank - 3)) ** 2 for rank in order)

    assert importance(words, None, order)[0] == pytest.approx(1 - sum(left) / total)


def test_the_hyper_parameter_that_decides_is_said_to_matter_and_no_other(tmp_path, capsys):
    write_points(tmp_path)
    shown = {entry.key: entry for entry in importances(compared(tmp_path))}
    main([str(tmp_path), "--trials"])
    words = " ".join(capsys.readouterr().out.split())

    assert shown["optimizer.lr"].is_shown
    assert shown["optimizer.lr"].share > 0.8
    assert not shown["optimizer.weight_decay"].is_shown
    assert "ce optimizer.lr 16 " in words
    assert "matters ce optimizer.weight_decay 16 " in words


def test_of_few_trials_nothing_is_said_to_matter(tmp_path):
    write_points(tmp_path, number=7)

    assert importances(compared(tmp_path)) == []


def test_paused_trials_stand_behind_finished_ones_and_before_diverged_ones(tmp_path):
    write_trial(tmp_path, "ce", 0.6, **{"optimizer.lr": 0.1})
    write_trial(tmp_path, "ce", 0.7, **{"optimizer.lr": 0.2})
    write_paused(tmp_path, "ce", 7, 0.95, **{"optimizer.lr": 0.3})
    write_paused(tmp_path, "ce", 14, 0.80, **{"optimizer.lr": 0.4})
    write_paused(tmp_path, "ce", 14, 0.85, **{"optimizer.lr": 0.5})
    for lr in (0.6, 0.7):
        write_begun(tmp_path, "ce", "Diverged: nan", epochs=2, **{"optimizer.lr": lr})
    comparison = compared(tmp_path)
    standing = standings(comparison, comparison.rows[0])
    by_rate = {
        entry.trial.varied["optimizer.lr"]: rank
        for entry, rank in zip(standing, ranks(standing), strict=True)
    }

    assert by_rate == {
        "0.2": 1.0, "0.1": 2.0, "0.5": 3.0, "0.4": 4.0, "0.3": 5.0, "0.6": 6.5, "0.7": 6.5
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "word"),
    [
        ({0.01: 0.897, 0.03: 0.9, 0.1: 0.898}, "flat"),
        ({0.01: 0.88, 0.03: 0.9, 0.1: 0.88}, "sharp"),
        ({0.01: 0.897, 0.03: 0.9, 0.1: 0.88}, "uneven"),
    ],
)
def test_a_choice_is_flat_if_its_neighbours_are_within_the_margin(tmp_path, scores, word):
    for lr, top1 in scores.items():
        write_trial(tmp_path, "ce", top1, **{"optimizer.lr": lr})
    write_trial(tmp_path, "ce", 0.5, **{"optimizer.lr": 10.0})
    (around,) = surroundings(compared(tmp_path))

    assert around.word == word
    assert {entry.trial.varied["optimizer.lr"] for entry in around.neighbours} == {"0.01", "0.1"}
    gaps = {
        float(entry.trial.varied["optimizer.lr"]): entry.loss_of_score
        for entry in around.neighbours
    }
    assert gaps == pytest.approx({0.01: 0.9 - scores[0.01], 0.1: 0.9 - scores[0.1]})


def test_a_neighbour_that_diverged_is_worse_and_one_that_was_paused_is_unknown(tmp_path, capsys):
    write_trial(tmp_path, "ce", 0.9, **{"optimizer.lr": 0.03})
    write_paused(tmp_path, "ce", 7, **{"optimizer.lr": 0.01})
    assert surroundings(compared(tmp_path))[0].word == "unknown"

    write_begun(tmp_path, "ce", "Diverged: nan", **{"optimizer.lr": 0.1})
    main([str(tmp_path), "--trials"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "ce lr=0.03 chosen 0.9000* sharp (1 of 2)" in shown
    assert "paused at 7" in shown


def test_a_finalist_without_the_score_to_choose_by_is_reported_nevertheless(tmp_path, capsys):
    """Of one finalist nothing is chosen, so that a hinge may lack val/nll."""
    write_trial(tmp_path, "hinge", 0.9, **{"optimizer.lr": 0.03})
    for folder in (tmp_path / "tested").glob("hinge-*"):
        content = json.loads((folder / "result.json").read_text())
        del content["metrics"]["val/nll"], content["sha256"]
        (folder / "result.json").write_text(json.dumps(content))
    write_paused(tmp_path, "hinge", 7, **{"optimizer.lr": 0.01})
    main([str(tmp_path), "--trials", "--choose-by", "val/nll"])

    assert "hinge 2 1 1 0 0 6 81 4.0" in " ".join(capsys.readouterr().out.split())
    assert surroundings(compared(tmp_path, choose_by="val/nll")) == []


def test_damaged_curves_of_a_paused_run_cost_its_score_and_nothing_else(tmp_path):
    write_trial(tmp_path, "ce", 0.9, **{"optimizer.lr": 0.03})
    write_paused(tmp_path, "ce", 7, 0.8, **{"optimizer.lr": 0.01})
    (folder,) = (tmp_path / "tested").glob("ce-1-0.01-begun")
    (folder / CURVES).write_text('{"1": {"val/top1": "much"}}')
    comparison = compared(tmp_path)
    (paused,) = [
        entry for entry in standings(comparison, comparison.rows[0]) if entry.state is State.PAUSED
    ]

    assert paused.score is None
    assert spent_by_loss(comparison.trials)[0].epochs == 3 * 20 + 3 * 7


def test_neighbours_are_near_on_the_scale_on_which_values_were_tried(tmp_path):
    """On a logarithmic axis 0.001 is as near to 0.01 as 0.1 is; words differ by 1."""
    for lr in (0.001, 0.01, 0.1):
        for decay in (0.1, 0.2):
            top1 = 0.9 - 0.01 * (lr != 0.01) - 0.01 * (decay != 0.1)
            write_trial(
                tmp_path, "ce", top1, **{"optimizer.lr": lr, "optimizer.weight_decay": decay}
            )
    (around,) = surroundings(compared(tmp_path))

    assert [round(entry.distance, 6) for entry in around.neighbours] == pytest.approx(
        [0.5, 0.5, 1.0, math.sqrt(1.25)], abs=1e-6
    )


def test_the_spacing_of_many_values_tells_their_scale():
    uniform = [str(0.02 + 4.9 * place / 15) for place in range(16)]

    assert axis_of(map(str, DECADES)).is_log
    assert not axis_of(uniform).is_log
    assert axis_of(["0.01", "0.1", "1"]).is_log
    assert axis_of(["0.1", "none"]) is None


def test_of_many_values_the_outer_tenth_is_their_edge(tmp_path):
    """The second of 16 values lies at 1/15 of their logarithmic range, the third at 2/15."""
    for best, lr in ((1, DECADES[1]), (2, DECADES[2])):
        root = tmp_path / str(best)
        for place, rate in enumerate(DECADES):
            write_trial(root, "ce", 0.9 - 0.01 * abs(place - best), **{"optimizer.lr": rate})
        expected = [f"optimizer.lr={lr}, near the smallest tried, 0.0001, for ce"]
        assert compared(root).at_edge == expected * (best == 1)


def test_the_best_of_k_is_the_mean_over_all_choices_of_k_trials(tmp_path):
    """Each seed's trial is that which the other two seeds choose among the k."""
    scores = {
        lr: {seed: 0.9 + 0.003 * place + LUCK[seed] * (place % 3 - 1) for seed in SEARCH}
        for place, lr in enumerate((0.1, 0.2, 0.3, 0.4, 0.5))
    }
    for lr, by_seed in scores.items():
        for seed, top1 in by_seed.items():
            value = top1 - LUCK[seed]
            write_trial(tmp_path, "ce", value, seeds=(seed,), **{"optimizer.lr": lr})
    comparison = compared(tmp_path)
    reached = best_of_k(comparison, comparison.rows[0])

    for k in (1, 2, 3, 4, 5):
        outcomes = [
            fmean(100 * scores[_chosen(scores, subset, seed)][seed] for seed in SEARCH)
            for subset in combinations(scores, k)
        ]
        assert reached.expected[k - 1] == pytest.approx(fmean(outcomes))
        ends = np.percentile(outcomes, (8, 12, 88, 92), method="inverted_cdf")  # 2,000 orders
        assert ends[0] - 1e-9 <= reached.low[k - 1] <= ends[1] + 1e-9
        assert ends[2] - 1e-9 <= reached.high[k - 1] <= ends[3] + 1e-9
    assert reached.low[-1] == pytest.approx(reached.high[-1])


def _chosen(scores, subset, seed):
    others = [other for other in SEARCH if other != seed]
    return max(subset, key=lambda lr: fmean(scores[lr][other] for other in others))


def test_of_a_halved_search_no_best_of_k_is_told(tmp_path):
    """The trials that were trained to the end are no random choice."""
    for lr in (0.1, 0.2):
        write_trial(tmp_path, "ce", 0.9 + 0.1 * lr, **{"optimizer.lr": lr})
    write_paused(tmp_path, "ce", 7, **{"optimizer.lr": 0.3})
    comparison = compared(tmp_path)

    assert best_of_k(comparison, comparison.rows[0]) is None


def test_a_marginal_has_every_trial_and_a_curve_through_the_finished_ones(tmp_path):
    write_points(tmp_path)
    write_paused(tmp_path, "ce", 7, 0.6, **{"optimizer.lr": 0.5, "optimizer.weight_decay": 0.05})
    (marginal,) = marginals(compared(tmp_path))["optimizer.lr"]

    assert marginal.axis.is_log
    assert [point.value for point in marginal.points] == [*DECADES, 0.5]
    assert marginal.points[-1].score == pytest.approx(0.6)
    assert (marginal.values[0], marginal.values[-1]) == pytest.approx((DECADES[0], DECADES[-1]))
    best = marginal.values[int(np.argmax(marginal.means))]
    assert DECADES[9] < best < DECADES[13]  # the truth is DECADES[11]


def test_few_trials_have_no_curve(tmp_path):
    write_points(tmp_path, number=5)
    (marginal,) = marginals(compared(tmp_path))["optimizer.lr"]

    assert len(marginal.points) == 5
    assert marginal.values == []


def test_a_grid_has_no_marginal_but_the_best_at_each_value(tmp_path):
    tags = {"commit": "c0ffee"}
    for lr in (0.1, 0.2, 0.3):
        write_trial(tmp_path, "ce", 0.9, tags=tags, **{"optimizer.lr": lr})

    assert marginals(compared(tmp_path)) == {}


def test_the_page_and_the_picture_show_a_search(tmp_path):
    write_points(tmp_path)
    page, picture = tmp_path / "page.html", tmp_path / "picture.svg"
    main([str(tmp_path), "--page", str(page), "--picture", str(picture)])
    text = page.read_text()

    for words in (
        "Trials by their optimizer.lr",
        "Trials by their optimizer.weight_decay",
        "Trials, and the epochs spent on them",
        "Around the chosen trials",
        "Importance of the hyper-parameters",
    ):
        assert words in text
    assert "Sensitivity to" not in text
    assert "<!-- optimizer.lr -->" in picture.read_text()  # the text that is drawn below


def test_the_csv_has_the_importance_of_each_hyper_parameter(tmp_path, capsys):
    write_points(tmp_path)
    capsys.readouterr()
    main([str(tmp_path), "--format", "csv"])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))

    entries = {entry.key: entry for entry in importances(compared(tmp_path))}
    for key, entry in entries.items():
        assert float(row[f"importance/{key}"]) == entry.share
        assert float(row[f"importance/{key}/p_holm"]) == entry.p
    assert row["choice"] == surroundings(compared(tmp_path))[0].word
