"""The report of a search: fair budgets, fresh seeds, and what the search has cost."""

import csv
import io
import math
from statistics import fmean, stdev

import pytest
from compared_losses import compared, contrast
from searched_losses import (
    LUCK,
    RATES,
    SEARCH,
    design,
    write_begun,
    write_paused,
    write_trial,
)
from written_run import edit

from xent_bench.commands.report import main
from xent_bench.comparison.spent import State, spent_by_loss
from xent_bench.comparison.stats import choice_widening
from xent_bench.comparison.winners_curse import winners_curses
from xent_bench.report.conclusion import conclusion
from xent_bench.report.notes import facts, warnings
from xent_bench.runs.files import CURVES

T4 = 2.7764451051977987  # Student's t, 97.5 %, 4 degrees of freedom


def write_search(root, *losses, rates=RATES, tags=None):
    """A search over learning rates: the third is the best of every loss."""
    for loss in losses:
        for place, lr in enumerate(rates):
            top1 = 0.9 - 0.01 * abs(place - 2) + 0.002 * (loss != "ce")
            write_trial(root, loss, top1, tags=tags, **{"optimizer.lr": lr})


def confirm(root, *losses, seeds=(3, 4, 5, 6, 7), top1=0.88):
    for loss in losses:
        tags = design(confirm=5)
        write_trial(root, loss, top1, seeds=seeds, tags=tags, **{"optimizer.lr": 0.01})


def halve(root, *losses):
    """Four trials, of which two were paused after epoch 10."""
    for loss in losses:
        for lr, top1 in ((0.003, 0.89), (0.01, 0.90)):
            write_trial(root, loss, top1 + 0.002 * (loss != "ce"), **{"optimizer.lr": lr})
        for lr in (0.001, 0.03):
            write_paused(root, loss, 10, **{"optimizer.lr": lr})


def test_a_halved_search_counts_all_of_its_trials_as_tried(tmp_path):
    halve(tmp_path, "ce", "gce")
    comparison = compared(tmp_path)

    assert [row.trials for row in comparison.rows] == [4, 4]
    assert comparison.unranked == ""
    assert not [note for note in warnings(comparison) if "without a result" in note]
    assert "the best of 4 trials (optimizer.lr 0.001, 0.003, 0.01, 0.03), 2 of them trained" in (
        conclusion(comparison)
    )


def test_a_halved_search_has_the_wider_interval_of_two_and_of_four_trials(tmp_path):
    halve(tmp_path, "ce", "gce")
    estimate = compared(tmp_path).rows[0].estimates["test/top1"]
    plain = 4.302652729696142 * stdev(LUCK[:3]) / math.sqrt(3)

    assert estimate.half_width == pytest.approx(
        plain * max(choice_widening(3, 2), choice_widening(3, 4))
    )


def test_a_loss_that_tried_fewer_points_than_the_other_is_not_ranked(tmp_path):
    halve(tmp_path, "ce", "gce")
    write_paused(tmp_path, "gce", 10, **{"optimizer.lr": 0.1})

    assert compared(tmp_path).unranked.startswith("trials: ce 4, gce 5")


def test_a_drawn_point_that_diverged_counts_as_tried(tmp_path):
    write_search(tmp_path, "ce")
    write_search(tmp_path, "gce", rates=RATES[:3])
    assert compared(tmp_path).unranked.startswith("trials: ce 4, gce 3")

    write_begun(tmp_path, "gce", "Diverged: nan", **{"optimizer.lr": RATES[3]})
    comparison = compared(tmp_path)
    assert comparison.unranked == ""
    assert {row.label: row.trials for row in comparison.rows} == {"ce": 4, "gce": 4}


def test_points_that_a_sampler_placed_for_each_loss_are_ranked_and_said_to_be(tmp_path):
    tags = design(sampler="tpe")
    write_search(tmp_path, "ce", tags=tags)
    write_search(tmp_path, "gce", rates=[1.5 * rate for rate in RATES], tags=tags)
    comparison = compared(tmp_path)

    assert (comparison.unranked, comparison.confounded) == ("", [])
    assert "tpe placed the trials of each loss by their results, so that budgets are equal in" in (
        conclusion(comparison)
    )


def test_a_sampler_that_placed_all_losses_alike_is_not_said_to_have_placed_them_apart(tmp_path):
    """Its first points are drawn before it has seen a result."""
    write_search(tmp_path, "ce", "gce", tags=design(sampler="tpe"))

    assert "in number, not in place" not in conclusion(compared(tmp_path))


def test_equal_points_are_wanted_where_no_sampler_placed_them(tmp_path):
    write_search(tmp_path, "ce")
    write_search(tmp_path, "gce", rates=[1.5 * rate for rate in RATES])

    assert "optimizer.lr" in compared(tmp_path).unranked


def test_a_key_that_a_sampler_did_not_search_is_still_wanted_equal(tmp_path):
    tags = design(sampler="tpe")
    for loss, decay in (("ce", 0.0), ("gce", 0.1)):
        for place, lr in enumerate(RATES):
            params = {"optimizer.lr": lr * (1 + place), "optimizer.weight_decay": decay}
            write_trial(tmp_path, loss, 0.9, tags=tags, **params)

    assert compared(tmp_path).confounded == ["optimizer.weight_decay: ce 0.0; gce 0.1"]


def test_fresh_seeds_alone_report_a_search_without_a_wider_interval(tmp_path):
    write_search(tmp_path, "ce", "gce")
    confirm(tmp_path, "ce", "gce")
    comparison = compared(tmp_path)
    fresh = [0.88 + luck for luck in LUCK[3:8]]

    assert [[run.params["seed"] for run in row.runs] for row in comparison.rows] == [
        [3, 4, 5, 6, 7]
    ] * 2
    estimate = comparison.rows[0].estimates["test/top1"]
    assert estimate.mean == pytest.approx(fmean(fresh))
    assert estimate.half_width == pytest.approx(T4 * stdev(fresh) / math.sqrt(5))
    assert conclusion(comparison).startswith(
        "On digits with cnn, 5 seeds, each loss with the best of 4 trials (optimizer.lr 0.001, "
        "0.003, 0.01, 0.03) by val/top1, reported by fresh seeds, which chose nothing."
    )
    assert "over seeds 0 to 2, from 4 trials" in " ".join(facts(comparison))
    assert "its fresh seeds, 3 to 7, which chose" in " ".join(facts(comparison))


def test_fresh_seeds_have_no_say_in_the_choice(tmp_path):
    write_search(tmp_path, "ce", "gce")
    confirm(tmp_path, "ce", "gce", top1=0.2)
    comparison = compared(tmp_path)

    assert [row.trial.varied["optimizer.lr"] for row in comparison.rows] == ["0.01"] * 2
    assert all(len(row.choice.candidates) == 4 for row in comparison.rows)
    assert not any(row.choice.left_out for row in comparison.rows)
    assert comparison.empty_cells == []


def test_fresh_seeds_of_an_earlier_winner_are_no_seeds_of_the_search(tmp_path):
    """More points were drawn later, and another one was the best: it has the same fresh seeds."""
    write_search(tmp_path, "ce", "gce")
    for loss in ("ce", "gce"):
        for lr in (0.02, 0.04):
            write_trial(tmp_path, loss, 0.95 - lr, **{"optimizer.lr": lr})
        for lr in (0.01, 0.02):
            tags = design(confirm=2)
            write_trial(tmp_path, loss, 0.9, seeds=(3, 4), tags=tags, **{"optimizer.lr": lr})
    comparison = compared(tmp_path)

    assert {row.trial.varied["optimizer.lr"] for row in comparison.rows} == {"0.02"}
    assert [[run.params["seed"] for run in row.runs] for row in comparison.rows] == [[3, 4]] * 2


def test_until_every_tuned_loss_has_fresh_seeds_none_is_reported_by_them(tmp_path):
    write_search(tmp_path, "ce", "gce")
    confirm(tmp_path, "ce")
    comparison = compared(tmp_path)

    assert not comparison.is_confirmed
    assert {len(row.choice.candidates) for row in comparison.rows} == {4}
    assert {run.params["seed"] for row in comparison.rows for run in row.runs} == {0, 1, 2}
    assert comparison.empty_cells == []


def test_one_fresh_seed_shows_no_spread_and_reports_nothing(tmp_path):
    write_search(tmp_path, "ce", "gce")
    confirm(tmp_path, "ce", "gce", seeds=(3,))

    assert not compared(tmp_path).is_confirmed


def test_fresh_seeds_that_were_trained_by_hand_count_as_well(tmp_path):
    tags = {"commit": "c0ffee"}
    write_search(tmp_path, "ce", "gce", tags=tags)
    for loss in ("ce", "gce"):
        params = {"tags": tags, "optimizer.lr": 0.01}
        write_trial(tmp_path, loss, 0.88, seeds=(3, 4, 5, 6), **params)
    comparison = compared(tmp_path)

    assert comparison.is_confirmed
    assert contrast(comparison, "gce").difference.n == 4


def test_an_untuned_loss_keeps_all_of_its_seeds_beside_fresh_ones(tmp_path):
    write_search(tmp_path, "ce", "gce")
    confirm(tmp_path, "ce", "gce")
    write_trial(tmp_path, "mae", 0.9, seeds=range(8), **{"optimizer.lr": 0.01})
    comparison = compared(tmp_path, rank_anyway=True)

    assert {row.label: row.n for row in comparison.rows} == {"ce": 5, "gce": 5, "mae": 8}
    assert contrast(comparison, "mae").difference.n == 5
    assert {cell.seed for cell in comparison.empty_cells} == {"0", "1", "2"}  # of points it lacks


def test_a_fresh_seed_that_failed_counts_in_n_and_one_that_is_missing_is_listed(tmp_path, capsys):
    write_search(tmp_path, "ce", "gce")
    confirm(tmp_path, "ce", "gce", seeds=(3, 4, 5))
    confirm(tmp_path, "ce", seeds=(6,))
    tags = design(confirm=5)
    write_begun(tmp_path, "gce", "killed", seeds=(7,), tags=tags, **{"optimizer.lr": 0.01})
    main([str(tmp_path)])
    shown = " ".join(capsys.readouterr().out.split())

    assert " gce 3/4 " in shown
    missing = {(cell.label, cell.seed) for cell in compared(tmp_path).empty_cells}
    assert missing == {("ce lr=0.01", "7"), ("gce lr=0.01", "6")}


def test_drawn_points_are_no_grid_with_holes(tmp_path):
    """A loss's own hyper-parameter has a value of its own at each point."""
    write_search(tmp_path, "ce")
    for place, lr in enumerate(RATES):
        params = {"optimizer.lr": lr, "loss.gamma": 0.5 + place}
        write_trial(tmp_path, "focal", 0.9, seeds=SEARCH[: 3 - (place == 3)], **params)

    assert [(cell.label, cell.seed) for cell in compared(tmp_path).empty_cells] == [
        ("focal lr=0.03 gamma=3.5", "2")
    ]


def test_a_search_is_chosen_by_the_metric_that_its_design_names(tmp_path):
    for lr, top1, nll in ((0.1, 0.9, 0.5), (0.2, 0.8, 0.4)):
        write_trial(tmp_path, "ce", top1, tags=design(search_by="val/nll"), **{"optimizer.lr": lr})
        for folder in (tmp_path / "tested").glob(f"ce-*-{lr}"):
            edit(folder, metrics={"val/nll": nll})

    assert compared(tmp_path).rows[0].trial.varied == {"optimizer.lr": "0.2"}
    assert compared(tmp_path, choose_by="val/top1").rows[0].trial.varied["optimizer.lr"] == "0.1"


def test_epochs_are_those_that_were_trained_whatever_became_of_a_run(tmp_path, capsys):
    """2 x 20 finished, 12 stopped early, 3 x 7 paused, 3 x 2 diverged, 5 killed, one unknown."""
    write_trial(tmp_path, "ce", 0.9, seeds=(0, 1), **{"optimizer.lr": 0.1})
    early = design() | {"epochs_trained": "12", "stopped_early": "true"}
    write_trial(tmp_path, "ce", 0.9, seeds=(2,), tags=early, **{"optimizer.lr": 0.1})
    write_paused(tmp_path, "ce", 7, **{"optimizer.lr": 0.2})
    write_begun(tmp_path, "ce", "Diverged: nan", epochs=2, **{"optimizer.lr": 0.3})
    write_begun(tmp_path, "ce", "killed", epochs=5, seeds=(0,), **{"optimizer.lr": 0.4})
    write_begun(tmp_path, "ce", "killed", epochs=5, seeds=(1,), **{"optimizer.lr": 0.4})
    write_begun(tmp_path, "ce", "killed", seeds=(2,), **{"optimizer.lr": 0.4})
    (damaged,) = (tmp_path / "tested").glob("ce-1-0.4-begun")
    (damaged / CURVES).write_text("{")
    (spent,) = spent_by_loss(compared(tmp_path).trials)
    main([str(tmp_path), "--trials"])
    shown = " ".join(capsys.readouterr().out.split())

    assert spent.epochs == 2 * 20 + 12 + 3 * 7 + 3 * 2 + 5
    assert spent.trials == {
        State.FINISHED: 1,
        State.PAUSED: 1,
        State.DIVERGED: 1,
        State.OPEN: 1,
    }
    assert (spent.runs, spent.untold, spent.full) == (12, 1, 84 / 20)
    assert "Not counted, since nothing tells it: the epochs of 1 run" in shown
    assert "ce 4 1 1 1 1 12 84 4.2" in shown


def test_the_epochs_of_fresh_seeds_are_counted_and_named(tmp_path, capsys):
    halve(tmp_path, "ce", "gce")
    confirm(tmp_path, "ce", "gce")
    main([str(tmp_path)])

    assert (
        "Spent on each loss: 4 trials (2 finished, 2 paused), 17 runs, 5 of them with fresh seeds, "
        "280 epochs." in " ".join(capsys.readouterr().out.split())
    )  # 2 x 3 x 20 + 2 x 3 x 10 + 5 x 20


def test_the_winner_s_curse_is_the_mean_of_fresh_seeds_minus_the_score_that_chose(tmp_path):
    write_search(tmp_path, "ce", "gce")
    confirm(tmp_path, "ce", "gce")
    comparison = compared(tmp_path)
    curses = {curse.row.label: curse for curse in winners_curses(comparison)}
    fresh = 0.88 + fmean(LUCK[3:8])

    assert curses["ce"].gap == pytest.approx(fresh - 0.9)
    assert curses["gce"].gap == pytest.approx(fresh - 0.902)
    assert (curses["ce"].chosen.n, curses["ce"].fresh.n) == (3, 5)
    assert (
        "the seeds that chose score 2.1 points better in val/top1 than fresh seeds of the same "
        "trials, mean over losses (fresh minus chosen: ce -2.0 and gce -2.2)"
        in " ".join(facts(comparison))
    )


def test_a_smaller_score_that_gets_larger_is_the_winner_s_curse_too(tmp_path):
    write_search(tmp_path, "ce", "gce")
    confirm(tmp_path, "ce", "gce")

    assert "the seeds that chose score 0.021 better in val/nll" in " ".join(
        facts(compared(tmp_path, choose_by="val/nll"))
    )


def test_the_csv_has_what_a_search_cost_and_how_it_ended(tmp_path, capsys):
    halve(tmp_path, "ce", "gce")
    confirm(tmp_path, "ce", "gce")
    capsys.readouterr()
    tables = []
    for words in ([], ["--trials"]):
        main([str(tmp_path), "--format", "csv", *words])
        tables.append(list(csv.DictReader(io.StringIO(capsys.readouterr().out))))
    losses, trials = tables

    assert [(row["trials"], row["trials_paused"], row["epochs"]) for row in losses] == [
        ("4", "2", "280")
    ] * 2
    assert {row["n"] for row in losses} == {row["begun"] for row in losses} == {"5"}
    gaps = {row["loss"]: float(row["val/top1/fresh/gap"]) for row in losses}
    assert gaps == pytest.approx({"ce": -0.02 + 0.0002, "gce": -0.022 + 0.0002})
    assert [(row["state"], row["epochs"], row["n"]) for row in trials if row["loss"] == "ce"] == [
        ("finished", "60", "3"),
        ("finished", "160", "3"),
        ("paused", "30", "0"),
        ("paused", "30", "0"),
    ]


def test_a_sequential_design_counts_fresh_seeds_from_the_first_after_the_search(tmp_path):
    """An earlier winner has the same fresh seeds, and lost to a point that was drawn later."""
    tags = design(until="decided", primary="test/top1", baseline="ce", max_seeds=8)
    write_search(tmp_path, "ce", "gce", tags=tags)
    for loss in ("ce", "gce"):
        for lr in (0.02, 0.04):
            write_trial(tmp_path, loss, 0.95 - lr, tags=tags, **{"optimizer.lr": lr})
        for lr in (0.01, 0.02):
            write_trial(tmp_path, loss, 0.9, seeds=(3, 4, 5), tags=tags, **{"optimizer.lr": lr})
    comparison = compared(tmp_path)

    assert comparison.is_confirmed
    assert comparison.sequential.courses.seeds == [3, 4, 5]
    assert [len(runs) for runs in comparison.sequential.used.values()] == [3, 3]
