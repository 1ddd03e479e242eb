"""The trial of a loss that is chosen, the runs that report it, and budgets that may be ranked."""

import pytest
from compared_losses import NOISE, SEEDS, compared, contrast, unfinished, write_loss
from written_run import write_run

from xent_bench.commands.report import main
from xent_bench.report.conclusion import conclusion


def test_hyper_parameters_are_chosen_on_val_and_test_is_reported_there(tmp_path):
    """The trial that is best on val is not the best on test."""
    for loss in ("ce", "gce"):
        for lr, val, test in ((0.1, 0.8, 0.95), (0.2, 0.9, 0.7), (0.4, 0.85, 0.9)):
            for seed in SEEDS:
                scores = {"val/top1": val + NOISE[seed], "test/top1": test + NOISE[seed]}
                write_run(tmp_path, loss, seed, metrics=scores, **{"optimizer.lr": lr})
    comparison = compared(tmp_path)

    assert [row.trial.varied for row in comparison.rows] == [{"optimizer.lr": "0.2"}] * 2
    assert all(row.trials == 3 for row in comparison.rows)
    assert comparison.rows[0].estimates["test/top1"].mean == pytest.approx(0.7, abs=0.001)
    assert comparison.at_edge == []


def test_a_score_of_which_less_is_better_chooses_the_smallest(tmp_path):
    for lr, nll in ((0.1, 0.5), (0.2, 0.4)):
        for seed in SEEDS:
            write_run(tmp_path, "ce", seed, metrics={"val/nll": nll}, **{"optimizer.lr": lr})
    comparison = compared(tmp_path, choose_by="val/nll")

    assert comparison.rows[0].trial.varied == {"optimizer.lr": "0.2"}
    assert comparison.at_edge == ["optimizer.lr=0.2, the largest tried, for ce"]


def test_a_score_that_a_loss_lacks_cannot_choose(tmp_path):
    for lr in (0.1, 0.2):
        write_run(tmp_path, "hinge", 0, **{"optimizer.lr": lr})

    with pytest.raises(ValueError, match=r"by val/nll, which hinge lr=0.1 lacks.*val/top1"):
        compared(tmp_path, choose_by="val/nll")


def test_a_trial_with_one_lucky_seed_is_not_chosen_over_one_with_all(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "ce", 0.99, seeds=(0,), **{"optimizer.lr": 0.2})

    assert compared(tmp_path).rows[0].trial.varied == {"optimizer.lr": "0.1"}


def test_a_trial_with_a_result_is_chosen_over_one_without(tmp_path):
    write_loss(tmp_path, "ce", 0.90, seeds=(0,))
    unfinished(tmp_path, "ce", 1, "Diverged: nan")
    unfinished(tmp_path, "ce", 2, "Diverged: nan")
    unfinished(tmp_path, "ce", 3, "killed", **{"optimizer.lr": 0.2})

    assert compared(tmp_path).rows[0].n == 1


def test_a_trial_with_a_failed_run_is_chosen_last(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "ce", 0.95, seeds=(0, 1, 2), **{"optimizer.lr": 0.2})
    unfinished(tmp_path, "ce", 3, "Diverged: the loss became nan", **{"optimizer.lr": 0.2})

    assert compared(tmp_path).rows[0].trial.varied == {"optimizer.lr": "0.1"}


def test_losses_tuned_with_unequal_budgets_are_not_ranked_unless_told(tmp_path, capsys):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.91, **{"loss.q": 0.7})
    write_loss(tmp_path, "gce", 0.92, **{"loss.q": 0.5})
    fair, ranked_anyway = compared(tmp_path), compared(tmp_path, rank_anyway=True)

    assert fair.unranked == "trials: ce 1, gce 2"
    assert fair.contrasts == []
    assert not any(leaders.best for leaders in fair.leaders.values())
    assert "Not ranked, since budgets differ" in conclusion(fair)
    assert contrast(ranked_anyway, "gce").verdict == "better"
    main([str(tmp_path)])
    shown = capsys.readouterr().out
    assert "Against ce" not in shown
    assert "Rows by name: not ranked." in shown
    assert "the best mean" not in shown  # none is marked
    main([str(tmp_path), "--power", "0.3"])
    assert "No difference at hand" in capsys.readouterr().out


def test_a_trial_without_a_finished_seed_is_none(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.91)
    unfinished(tmp_path, "ce", 0, "killed", **{"optimizer.lr": 0.2})
    comparison = compared(tmp_path)

    assert [row.trials for row in comparison.rows] == [1, 1]
    assert (comparison.unranked, comparison.confounded, comparison.at_edge) == ("", [], [])
    assert contrast(comparison, "gce").verdict == "better"


def test_a_rate_at_which_one_loss_diverged_counts_in_its_budget(tmp_path):
    for loss in ("ce", "gce"):
        for lr in (0.1, 0.2):
            write_loss(tmp_path, loss, 0.9, **{"optimizer.lr": lr})
    write_loss(tmp_path, "ce", 0.9, **{"optimizer.lr": 0.4})
    assert compared(tmp_path).unranked.startswith("trials: ce 3, gce 2")

    for seed in SEEDS:
        unfinished(tmp_path, "gce", seed, "Diverged: nan", **{"optimizer.lr": 0.4})
    assert compared(tmp_path).unranked == ""


def test_a_trial_with_fewer_seeds_is_left_out_and_said_so(tmp_path, capsys):
    for loss in ("ce", "gce"):
        write_loss(tmp_path, loss, 0.90)
        write_loss(tmp_path, loss, 0.91, **{"optimizer.lr": 0.2})
    write_loss(tmp_path, "ce", 0.99, seeds=(0,), **{"optimizer.lr": 0.4})
    comparison = compared(tmp_path)
    main([str(tmp_path)])

    assert {row.label: row.trials for row in comparison.rows} == {"ce": 2, "gce": 2}
    assert "fewer finished seeds" in (shown := " ".join(capsys.readouterr().out.split()))
    assert "ce lr=0.4 (1 of 4 seeds)" in shown
    assert "Left out, for want of seeds: ce lr=0.4 (1 of 4 seeds)." in conclusion(comparison)
    assert "with the best of 2 trials (optimizer.lr 0.1, 0.2) by val/top1" in conclusion(comparison)


def test_where_nothing_was_chosen_no_choice_is_at_an_edge(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "ce", 0.95, seeds=(0,), **{"optimizer.lr": 0.2})

    assert compared(tmp_path).at_edge == []


def test_a_trial_does_not_win_by_having_more_seeds(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "ce", 0.95, seeds=(0, 1, 2), **{"optimizer.lr": 0.2})

    assert compared(tmp_path).rows[0].trial.varied == {"optimizer.lr": "0.2"}


def test_a_tuned_loss_is_reported_by_runs_that_other_seeds_chose(tmp_path):
    """Three trials; each seed is lucky with another one, on val and on test."""
    for trial, lr in enumerate((0.1, 0.2, 0.4)):
        for seed in range(3):
            top1 = 0.9 + 0.05 * (trial == seed)
            scores = {"val/top1": top1, "val/nll": -0.01 * trial, "test/top1": top1}
            write_run(tmp_path, "ce", seed, metrics=scores, **{"optimizer.lr": lr})
    (row,) = compared(tmp_path).rows

    # of the two that the other seeds favour alike, the one with the smaller val/nll
    assert [(run.params["seed"], run.params["optimizer.lr"]) for run in row.runs] == [
        (0, 0.4),
        (1, 0.4),
        (2, 0.2),
    ]
    assert row.estimates["test/top1"].mean == pytest.approx(0.9)
    assert "for each seed, the other seeds choose the trial" in conclusion(compared(tmp_path))


def test_with_one_seed_the_report_says_that_the_choice_flatters(tmp_path):
    for lr, top1 in ((0.1, 0.90), (0.2, 0.91)):
        write_loss(tmp_path, "ce", top1, seeds=(0,), **{"optimizer.lr": lr})
    comparison = compared(tmp_path)

    assert comparison.rows[0].estimates["test/top1"].mean == pytest.approx(0.9104)
    assert "which flatters it: with one seed the run that was chosen is the one" in conclusion(
        comparison
    )


def test_a_tie_of_two_is_said(tmp_path, capsys):
    for lr, nll in ((0.1, 0.5), (0.2, 0.4)):
        for seed in SEEDS:
            scores = {"val/top1": 0.9, "val/nll": nll}
            write_run(tmp_path, "ce", seed, metrics=scores, **{"optimizer.lr": lr})
    main([str(tmp_path)])

    assert "2 trials of ce tie in val/top1, chosen by val/nll" in " ".join(
        capsys.readouterr().out.split()
    )


def test_trials_without_a_common_seed_are_not_chosen_among(tmp_path, capsys):
    write_loss(tmp_path, "ce", 0.90, seeds=(0,))
    write_loss(tmp_path, "ce", 0.95, seeds=(1,), **{"optimizer.lr": 0.2})
    comparison = compared(tmp_path)
    main([str(tmp_path)])

    assert [(row.n, row.trials) for row in comparison.rows] == [(1, 1)]
    assert "ce lr=0.2 (no seed in common)" in " ".join(capsys.readouterr().out.split())
    assert "Without any finished run" not in conclusion(comparison)


def test_the_one_seed_that_chose_is_not_reported_where_there_are_others(tmp_path):
    write_loss(tmp_path, "ce", 0.90, seeds=(0, 1))
    write_loss(tmp_path, "ce", 0.80, seeds=(0,), **{"optimizer.lr": 0.2})
    (row,) = compared(tmp_path).rows

    assert [run.params["seed"] for run in row.runs] == [1]
    assert not row.choice.flatters


def test_a_rate_at_which_all_diverged_is_an_end_of_what_was_tried(tmp_path):
    for lr, top1 in ((0.1, 0.8), (0.2, 0.9)):
        write_loss(tmp_path, "ce", top1, **{"optimizer.lr": lr})
    assert compared(tmp_path).at_edge == ["optimizer.lr=0.2, the largest tried, for ce"]

    unfinished(tmp_path, "ce", 0, "Diverged: nan", **{"optimizer.lr": 9.0})
    assert compared(tmp_path).at_edge == []


@pytest.mark.parametrize(
    ("nll", "chosen", "how"),
    [
        ({1: 0.5, 2: 0.5, 10: 0.5}, "2", "nearer the middle"),
        ({1: 0.5, 2: 0.5, 10: 0.4}, "10", "chosen by val/nll"),
    ],
)
def test_a_tie_is_broken_by_val_nll_else_by_the_middle_and_said(tmp_path, capsys, nll, chosen, how):
    for gamma, value in nll.items():
        for seed in SEEDS:
            scores = {"val/top1": 0.9, "val/nll": value, "test/top1": 0.9}
            write_run(tmp_path, "focal", seed, metrics=scores, **{"loss.gamma": gamma})
    comparison = compared(tmp_path)
    main([str(tmp_path)])
    shown = " ".join(capsys.readouterr().out.split())

    assert comparison.rows[0].trial.varied == {"loss.gamma": chosen}
    assert how in shown
    assert ("largest tried" in shown) is (chosen == "10")


def test_the_best_is_chosen_and_tested_on_the_same_seeds(tmp_path):
    """The first three seeds are hard; focal had only these, and is better on each."""
    for seed in range(8):
        top1 = 0.85 + 0.1 * (seed > 2) + 0.0005 * (seed % 3)
        write_run(tmp_path, "ce", seed, metrics={"test/top1": top1, "val/top1": top1})
        if seed < 3:
            better = top1 + 0.01 + 0.0002 * (seed % 2)
            write_run(tmp_path, "focal", seed, metrics={"test/top1": better, "val/top1": better})
    comparison = compared(tmp_path)

    assert contrast(comparison, "focal").verdict == "better"
    assert comparison.leaders["test/top1"] == ("focal", frozenset())


def test_the_first_sentence_says_that_nothing_was_tuned(tmp_path):
    for loss in ("ce", "gce"):
        write_loss(tmp_path, loss, 0.90 + 0.01 * (loss == "gce"))
    text = conclusion(compared(tmp_path))

    assert text.startswith(
        "On digits with cnn, 4 seeds, every loss at one setting, optimizer.lr=0.1, not tuned. At "
        "this setting, in NLL after temperature scaling, the primary metric,"
    )


def test_two_runs_of_a_seed_that_record_the_same_parameters_are_no_two_seeds(tmp_path):
    """A default in a user's code changed: it counts in the key, and no parameter records it."""
    write_loss(tmp_path, "ce", 0.9)
    for version in ("before", "after"):
        write_run(tmp_path / version, "mine.mine", 0, tags={"key": version})

    with pytest.raises(
        ValueError, match=r"each seed once.*2 runs of seed 0 .*after.* and .*before.*keep one"
    ):
        compared(tmp_path)


def test_a_chosen_trial_that_records_no_hyper_parameter_is_named_so(tmp_path, capsys):
    """A key that was renamed, or left to the code, is a parameter of some trials alone."""
    for loss in ("ce", "mine.mine"):
        write_loss(tmp_path, loss, 0.9)
        write_loss(tmp_path, loss, 0.8, **{f"loss.{'gamma' if loss != 'ce' else 'smoothing'}": 1.0})
    main([str(tmp_path)])

    assert "from 2 trials of each loss: the code's own defaults for" in " ".join(
        capsys.readouterr().out.split()
    )
