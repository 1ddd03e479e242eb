"""Which loss is better: what is compared, what is chosen, what is claimed and what is missing."""

import pytest
from written_run import edit, write_run

from xent_bench.comparison import Comparison, Options, compare
from xent_bench.conclusion import conclusion
from xent_bench.contrasts import Contrast
from xent_bench.report import main
from xent_bench.report_tables import power
from xent_bench.runs import Unfinished, load_runs, load_unfinished, save_begun
from xent_bench.yardsticks import with_ties

SEEDS = range(4)
NOISE = (0.0, 0.003, -0.002, 0.001)  # of a seed, the same for every loss
JITTER = (0.0004, -0.0003, 0.0001, -0.0002)  # of a loss with a seed


def write_loss(root, loss, top1, *, jitter=1.0, seeds=SEEDS, **params):
    """With a mean top-1, by seed; val says the same."""
    for seed in seeds:
        value = top1 + NOISE[seed] + jitter * JITTER[seed] * (1 if loss == "ce" else -1)
        write_run(root, loss, seed, metrics={"test/top1": value, "val/top1": value}, **params)


def compared(root, **options) -> Comparison:
    (found,) = compare(load_runs(root), load_unfinished(root), Options(**options))
    return found


def contrast(found: Comparison, label: str, key: str = "test/top1") -> Contrast:
    (one,) = [e for e in found.contrasts if (e.label, e.yardstick.key) == (label, key)]
    return one


def unfinished(root, loss, seed, reason, **params):
    folder = root / "tested" / "-".join(map(str, [loss, seed, *params.values(), "begun"]))
    folder.mkdir(parents=True)
    chosen = {"loss": loss, "data": "digits", "model": "cnn", "optimizer.lr": 0.1, "seed": seed}
    command = f"xent-train loss={loss} seed={seed}"
    save_begun(Unfinished(f"{loss}-s{seed}", "tested", chosen | params, command, reason), folder)


def test_a_verdict_is_of_the_difference_and_not_of_the_intervals(tmp_path):
    """Seeds differ by more than losses do: unpaired, these intervals overlap."""
    write_loss(tmp_path, "ce", 0.90)
    for loss, top1 in (("gce", 0.906), ("mae", 0.894), ("focal", 0.9001)):
        write_loss(tmp_path, loss, top1)
    write_loss(tmp_path, "poly1", 0.904, jitter=9)
    found = compared(tmp_path, yardsticks=with_ties({"top1": 0.3}))

    assert contrast(found, "gce").verdict == "better"
    assert contrast(found, "mae").verdict == "worse"
    assert contrast(found, "focal").verdict == "tie within 0.3 points"
    assert contrast(found, "poly1").verdict == "inconclusive"


def test_where_less_is_better_the_sign_of_a_verdict_turns(tmp_path):
    for seed in SEEDS:
        write_run(tmp_path, "ce", seed, metrics={"test/nll": 0.4 + NOISE[seed]})
        better = 0.3 + NOISE[seed] + JITTER[seed]
        write_run(tmp_path, "gce", seed, metrics={"test/nll": better})
    found = compared(tmp_path)

    assert contrast(found, "gce", "test/nll").verdict == "better"
    assert contrast(found, "gce", "test/nll").difference.improvement == 1


def test_p_is_corrected_over_the_losses_of_a_metric(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.901)
    alone = contrast(compared(tmp_path), "gce").p
    write_loss(tmp_path, "mae", 0.93)
    write_loss(tmp_path, "kl", 0.94)

    assert contrast(compared(tmp_path), "gce").p == pytest.approx(alone)  # the largest of three
    assert contrast(compared(tmp_path), "mae").p > contrast(compared(tmp_path), "mae").difference.p


def test_another_baseline_turns_the_comparison(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.91)
    ours, theirs = compared(tmp_path), compared(tmp_path, baseline="gce")

    assert contrast(ours, "gce").difference.mean == pytest.approx(
        -contrast(theirs, "ce").difference.mean
    )


def test_losses_with_other_seeds_are_compared_on_those_that_both_have(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.91, seeds=(1, 2))
    found = compared(tmp_path)

    assert contrast(found, "gce").difference.n == 2
    assert [each.seed for each in found.missing] == ["0", "3"]
    assert "loss=gce" in found.missing[0].command
    assert "seed=0" in found.missing[0].command


def test_hyper_parameters_are_chosen_on_val_and_test_is_reported_there(tmp_path):
    """The best on test is another."""
    for loss in ("ce", "gce"):
        for lr, val, test in ((0.1, 0.8, 0.95), (0.2, 0.9, 0.7), (0.4, 0.85, 0.9)):
            for seed in SEEDS:
                scores = {"val/top1": val + NOISE[seed], "test/top1": test + NOISE[seed]}
                write_run(tmp_path, loss, seed, metrics=scores, **{"optimizer.lr": lr})
    found = compared(tmp_path)

    assert [row.trial.varied for row in found.rows] == [{"optimizer.lr": "0.2"}] * 2
    assert all(row.trials == 3 for row in found.rows)
    assert found.rows[0].estimates["test/top1"].mean == pytest.approx(0.7, abs=0.001)
    assert found.at_edge == []


def test_a_score_of_which_less_is_better_chooses_the_smallest(tmp_path):
    for lr, nll in ((0.1, 0.5), (0.2, 0.4)):
        for seed in SEEDS:
            write_run(tmp_path, "ce", seed, metrics={"val/nll": nll}, **{"optimizer.lr": lr})
    found = compared(tmp_path, choose_by="val/nll")

    assert found.rows[0].trial.varied == {"optimizer.lr": "0.2"}
    assert found.at_edge == ["optimizer.lr=0.2, the largest tried, for ce"]


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


def test_an_infinite_score_is_no_difference_that_seeds_could_show(tmp_path):
    """Here of both losses, with other seeds."""
    for seed in SEEDS:
        for loss, unlucky in (("ce", 1), ("square", 2)):
            nll = float("inf") if seed == unlucky else 0.4 + NOISE[seed]
            write_run(tmp_path, loss, seed, metrics={"test/nll": nll})
    found = contrast(compared(tmp_path), "square", "test/nll")

    assert found.verdict == "inconclusive"
    assert found.difference.improvement == 0.5
    assert found.difference.half_width is None


def test_a_setting_whose_every_run_failed_is_shown_beside_others(tmp_path, capsys):
    write_loss(tmp_path, "ce", 0.90)
    unfinished(tmp_path, "ce", 0, "Diverged: nan", model="mlp")
    main([str(tmp_path)])
    shown = " ".join(capsys.readouterr().out.split())

    assert "digits with mlp" in shown
    assert "ce-s0: Diverged: nan" in shown
    assert "Without any finished run: ce." in shown


def test_a_baseline_without_a_result_or_a_common_seed_is_missed(tmp_path):
    unfinished(tmp_path, "ce", 0, "Diverged: nan")
    write_loss(tmp_path, "gce", 0.91)
    assert "There is no baseline" in conclusion(compared(tmp_path))

    write_loss(tmp_path, "ce", 0.90, seeds=(1,))
    write_loss(tmp_path, "mae", 0.90, seeds=(2, 3))
    assert "No seed is shared with ce by mae." in conclusion(compared(tmp_path))


def test_a_trial_with_a_failed_run_is_chosen_last(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "ce", 0.95, seeds=(0, 1, 2), **{"optimizer.lr": 0.2})
    unfinished(tmp_path, "ce", 3, "Diverged: the loss became nan", **{"optimizer.lr": 0.2})

    assert compared(tmp_path).rows[0].trial.varied == {"optimizer.lr": "0.1"}


def test_losses_tuned_with_unequal_budgets_are_not_ranked_unless_told(tmp_path, capsys):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.91, **{"loss.q": 0.7})
    write_loss(tmp_path, "gce", 0.92, **{"loss.q": 0.5})
    fair, told = compared(tmp_path), compared(tmp_path, rank_anyway=True)

    assert fair.unranked == "trials: ce 1, gce 2"
    assert fair.contrasts == []
    assert not any(leaders.best for leaders in fair.leaders.values())
    assert "Not ranked, since budgets differ" in conclusion(fair)
    assert contrast(told, "gce").verdict == "better"
    main([str(tmp_path)])
    shown = capsys.readouterr().out
    assert "Against ce" not in shown
    assert "Rows by name: not ranked." in shown
    assert "the best mean" not in shown  # none is marked
    main([str(tmp_path), "--power", "0.3"])
    assert "No difference at hand" in capsys.readouterr().out


def test_what_differs_between_losses_beside_the_loss_is_said_and_not_ranked(tmp_path):
    """Each loss has two trials, but not over the same values."""
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "ce", 0.92, **{"optimizer.lr": 0.2})
    write_loss(tmp_path, "gce", 0.91, **{"loss.q": 0.7})
    write_loss(tmp_path, "gce", 0.90, **{"loss.q": 0.5})
    found = compared(tmp_path)

    assert found.confounded == ["optimizer.lr: ce 0.1, 0.2; gce 0.1"]
    assert found.contrasts == []
    assert "not only the loss differs" in conclusion(found)
    assert "optimizer.lr: ce 0.1, 0.2; gce 0.1" in conclusion(found)
    assert "better than" not in conclusion(found)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 1},
        {"batch_size": 8},
        {"precision": "bf16"},
        {"accumulate": 2},
        {"augmentation.mixup": 0.2},
        {"schedule": "constant"},
        {"schedule.warmup": 0.1},
        {"data.flip": True},
    ],
)
def test_what_is_trained_otherwise_is_another_setting_and_no_trial(tmp_path, change):
    """A smoke test with more seeds than the sweep takes nothing from it."""
    write_loss(tmp_path, "ce", 0.90, seeds=(0, 1))
    write_loss(tmp_path, "gce", 0.91, seeds=(0, 1))
    write_loss(tmp_path, "ce", 0.30, seeds=(0, 1, 2), **change)
    sections = {each.setting: each for each in compare(load_runs(tmp_path))}
    ((key, value),) = change.items()
    (other,) = [name for name in sections if f"{key}={value}" in name]

    assert sections[other].rows[0].n == 3
    (sweep,) = [each for name, each in sections.items() if name != other]
    assert [(row.label, row.n, row.trials) for row in sweep.rows] == [("ce", 2, 1), ("gce", 2, 1)]
    assert sweep.unranked == ""


def test_a_trial_without_a_finished_seed_is_none(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.91)
    unfinished(tmp_path, "ce", 0, "killed", **{"optimizer.lr": 0.2})
    found = compared(tmp_path)

    assert [row.trials for row in found.rows] == [1, 1]
    assert (found.unranked, found.confounded, found.at_edge) == ("", [], [])
    assert contrast(found, "gce").verdict == "better"


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
    found = compared(tmp_path)
    main([str(tmp_path)])

    assert {row.label: row.trials for row in found.rows} == {"ce": 2, "gce": 2}
    assert "fewer finished seeds" in (shown := " ".join(capsys.readouterr().out.split()))
    assert "ce lr=0.4 (1 of 4 seeds)" in shown
    assert "Left out, for want of seeds: ce lr=0.4 (1 of 4 seeds)." in conclusion(found)
    assert "with the best of 2 trials (optimizer.lr 0.1, 0.2) by val/top1" in conclusion(found)


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
    found = compared(tmp_path)

    assert found.rows[0].estimates["test/top1"].mean == pytest.approx(0.9104)
    assert "which flatters it: with one seed the run that was chosen is the one" in conclusion(
        found
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


def test_a_hole_in_the_grid_of_one_loss_is_listed(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "ce", 0.91, seeds=(0, 1, 2), **{"optimizer.lr": 0.2})

    assert [(each.label, each.seed) for each in compared(tmp_path).missing] == [("ce lr=0.2", "3")]


def test_what_one_loss_of_two_tried_alone_is_no_hole_of_the_other(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.90)
    write_loss(tmp_path, "ce", 0.91, **{"optimizer.lr": 0.2})

    assert compared(tmp_path).missing == []


def test_a_control_that_fails_says_by_how_much(tmp_path):
    for loss, top1 in (("ce", 0.90), ("sparse_ce", 0.93)):
        write_run(tmp_path, loss, 0, weights=loss, metrics={"test/top1": top1})

    assert compared(tmp_path).control == (0, 1, pytest.approx(0.03))


def test_values_stand_in_the_order_of_numbers(tmp_path, capsys):
    for gamma in (10, 2, 0.5):
        write_loss(tmp_path, "focal", 0.9, **{"loss.gamma": gamma})
    main([str(tmp_path), "--trials"])
    shown = capsys.readouterr().out

    assert shown.index("gamma=0.5") < shown.index("gamma=2 ") < shown.index("gamma=10")


def test_trials_without_a_common_seed_are_not_chosen_among(tmp_path, capsys):
    write_loss(tmp_path, "ce", 0.90, seeds=(0,))
    write_loss(tmp_path, "ce", 0.95, seeds=(1,), **{"optimizer.lr": 0.2})
    found = compared(tmp_path)
    main([str(tmp_path)])

    assert [(row.n, row.trials) for row in found.rows] == [(1, 1)]
    assert "ce lr=0.2 (no seed in common)" in " ".join(capsys.readouterr().out.split())
    assert "Without any finished run" not in conclusion(found)


def test_the_one_seed_that_chose_is_not_reported_where_there_are_others(tmp_path):
    write_loss(tmp_path, "ce", 0.90, seeds=(0, 1))
    write_loss(tmp_path, "ce", 0.80, seeds=(0,), **{"optimizer.lr": 0.2})
    (row,) = compared(tmp_path).rows

    assert [run.params["seed"] for run in row.runs] == [1]
    assert not row.choice.flatters


def test_what_is_ranked_nevertheless_is_said_in_the_conclusion(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.91, **{"optimizer.lr": 0.2})
    text = conclusion(compared(tmp_path, rank_anyway=True))

    assert "each loss at a setting of its own, not tuned" in text
    assert "Ranked nevertheless, though not only the loss differs" in text
    assert "optimizer.lr: ce 0.1; gce 0.2" in text
    assert "at this setting" not in text.lower()


def test_an_infinite_score_shows_no_order(tmp_path):
    for seed in SEEDS:
        noise = NOISE[seed] + JITTER[seed]
        for loss, raw, scaled in (("ce", 0.5, 0.6), ("huber", float("inf"), 0.3)):
            scores = {"test/nll": raw + noise * (loss == "ce"), "test_ts/nll": scaled + noise}
            write_run(tmp_path, loss, seed, metrics=scores)
    (flip,) = compared(tmp_path).flips

    assert not flip.shown


def test_a_rate_at_which_all_diverged_is_an_end_of_what_was_tried(tmp_path):
    for lr, top1 in ((0.1, 0.8), (0.2, 0.9)):
        write_loss(tmp_path, "ce", top1, **{"optimizer.lr": lr})
    assert compared(tmp_path).at_edge == ["optimizer.lr=0.2, the largest tried, for ce"]

    unfinished(tmp_path, "ce", 0, "Diverged: nan", **{"optimizer.lr": 9.0})
    assert compared(tmp_path).at_edge == []


def test_a_single_loss_has_nothing_to_decide(tmp_path):
    write_loss(tmp_path, "ce", 0.9)
    text = conclusion(compared(tmp_path))

    assert "primary metric" not in text
    assert "better" not in text


def test_a_loss_that_lacks_the_primary_metric_is_named(tmp_path):
    for loss in ("ce", "gce", "hinge"):
        write_loss(tmp_path, loss, 0.9)
    text = conclusion(compared(tmp_path, primary="test/nll"))

    assert "Without that metric, so not judged by it: hinge." in text


def test_sections_stand_in_the_order_of_numbers(tmp_path):
    for epochs in (100, 2, 10):
        write_loss(tmp_path, "ce", 0.9, epochs=epochs)
    names = [each.setting.rpartition("=")[2] for each in compare(load_runs(tmp_path))]

    assert names == ["2", "10", "100"]


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
    found = compared(tmp_path)
    main([str(tmp_path)])
    shown = " ".join(capsys.readouterr().out.split())

    assert found.rows[0].trial.varied == {"loss.gamma": chosen}
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
    found = compared(tmp_path)

    assert contrast(found, "focal").verdict == "better"
    assert found.leaders["test/top1"] == ("focal", frozenset())


def test_the_first_sentence_says_that_nothing_was_tuned(tmp_path):
    for loss in ("ce", "gce"):
        write_loss(tmp_path, loss, 0.90 + 0.01 * (loss == "gce"))
    text = conclusion(compared(tmp_path))

    assert text.startswith(
        "On digits with cnn, 4 seeds, every loss at one setting, optimizer.lr=0.1, not tuned. At "
        "this setting, in NLL after temperature scaling, the primary metric,"
    )


def test_the_primary_metric_is_judged_alone_and_the_others_together(tmp_path):
    for seed in SEEDS:
        for loss, sign in (("ce", 1), ("gce", -1)):
            top1 = 0.90 + NOISE[seed] + 0.01 * (loss == "gce") + 5 * sign * JITTER[seed]
            nll = 0.5 + NOISE[seed] + sign * JITTER[seed]
            write_run(tmp_path, loss, seed, metrics={"test/top1": top1, "test/nll": nll})
    first, second = compared(tmp_path, primary="test/top1"), compared(tmp_path)

    assert contrast(first, "gce").p == pytest.approx(contrast(first, "gce").difference.p)
    assert contrast(second, "gce").p > contrast(first, "gce").p
    assert contrast(first, "gce", "test/brier").verdict == "not judged"
    assert "in top-1, the primary metric, better than ce: gce" in conclusion(first)
    assert "Secondary: in top-1, better than ce: gce" in conclusion(second)


def test_a_loss_that_still_got_better_when_it_ended_is_named(tmp_path):
    for seed in SEEDS:
        for loss, fall in (("ce", 0.03), ("gce", 0.0)):
            trend = {
                "val_last_tenth/fall": fall + 0.001 * NOISE[seed],
                "val_last_tenth/value": 0.5,
                "val_last_tenth/noise": 0.001,
                "val_last_tenth/degrees_of_freedom": 3.0,
            }
            write_run(tmp_path, loss, seed, metrics=trend)
    text = conclusion(compared(tmp_path))

    assert "Not trained to the end, since val/nll still fell in the last tenth" in text
    assert "epochs, one at least: ce (by 0.03)." in text


def test_a_diverged_run_is_a_row_with_its_reason_and_counts(tmp_path, capsys):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.91, seeds=(0, 1, 2))
    unfinished(tmp_path, "gce", 3, "Diverged: the loss became nan")
    unfinished(tmp_path, "mae", 0, "killed")
    main([str(tmp_path)])
    shown = " ".join(capsys.readouterr().out.split())

    assert "gce 3/4 " in shown
    assert "mae 0/1 - -" in shown
    assert "gce-s3: Diverged: the loss became nan [xent-train loss=gce seed=3]" in shown
    assert "mae-s0: killed [xent-train loss=mae seed=0]" in shown


def test_where_every_run_failed_the_reasons_are_told(tmp_path, capsys):
    unfinished(tmp_path, "mae", 0, "Diverged: the loss became nan")
    with pytest.raises(SystemExit, match="3"):
        main([str(tmp_path)])

    assert "mae-s0: Diverged: the loss became nan [xent-train" in capsys.readouterr().err


def test_missing_cells_of_the_grid_are_listed_with_what_would_train_them(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "ce", 0.91, **{"optimizer.lr": 0.2})
    write_loss(tmp_path, "gce", 0.91)
    write_loss(tmp_path, "gce", 0.91, seeds=(0,), **{"optimizer.lr": 0.2})
    found = compared(tmp_path).missing

    assert [(each.label, each.seed) for each in found] == [
        ("gce lr=0.2", seed) for seed in ("1", "2", "3")
    ]
    assert "optimizer.lr=0.2 seed=3" in found[-1].command
    assert found[-1].command.count("seed=") == 1


def test_images_nets_and_precisions_are_compared_apart(tmp_path):
    for what in ({"model.width": 16}, {"model.width": 32}, {"data": "synthetic"}):
        write_loss(tmp_path, "ce", 0.9, **what)
    names = [each.setting for each in compare(load_runs(tmp_path))]

    assert sorted(names) == [
        "digits with cnn, model.width=16",
        "digits with cnn, model.width=32",
        "synthetic with cnn",
    ]


def test_an_order_that_scaling_turns_is_listed(tmp_path):
    for seed in SEEDS:
        noise = NOISE[seed] + JITTER[seed]
        for loss, raw, scaled in (("ce", 0.4, 0.3), ("focal", 0.5, 0.2), ("mse", 0.6, 0.4)):
            scores = {"test/nll": raw + noise * (loss == "ce"), "test_ts/nll": scaled + noise}
            write_run(tmp_path, loss, seed, metrics=scores)
    (flip,) = compared(tmp_path).flips

    assert (flip.as_trained, flip.scaled) == ("ce", "focal")


def test_the_conclusion_says_what_is_better_and_what_is_open(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.91)
    write_loss(tmp_path, "poly1", 0.904, jitter=9)
    text = conclusion(compared(tmp_path))

    assert text.startswith("On digits with cnn, 4 seeds, every loss at one setting")
    assert "Secondary: in top-1, better than ce: gce by 1.0 ±" in text
    inconclusive = text.partition("Inconclusive with these seeds:")[2]
    assert "; top-1 (poly1);" in inconclusive
    assert "no loss is shown to be better" not in text
    assert "As trained, ce, gce and poly1 are over-confident" in text
    assert "After temperature scaling, no loss is shown to be miscalibrated by these 359" in text


def test_power_says_how_many_seeds_a_difference_needs(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.91, jitter=3)
    write_loss(tmp_path, "poly1", 0.904, jitter=9)
    found = compared(tmp_path)
    small, large = ({row[0]: int(row[3]) for row in power(found, p).rows} for p in (0.3, 0.6))

    assert small["poly1"] > small["gce"]
    assert small["poly1"] > large["poly1"]


def test_seeds_needed_cannot_be_told_from_one_seed(tmp_path):
    write_loss(tmp_path, "ce", 0.90, seeds=(0,))
    write_loss(tmp_path, "gce", 0.91, seeds=(0,))

    assert power(compared(tmp_path), 0.3).rows == [["gce", "1", "-", "-", "-", "-"]]


def test_a_run_that_failed_belongs_to_the_images_of_those_that_finished(tmp_path):
    """It had not come to hashing them."""
    for seed in SEEDS:
        write_run(tmp_path, "ce", seed, tags={"data_sha256": "abcdef0123"})
    unfinished(tmp_path, "gce", 0, "killed")

    assert [run.name for run in compared(tmp_path).unfinished] == ["gce-s0"]


def test_other_images_of_the_same_name_are_told_by_their_hash(tmp_path):
    for seed, sha256 in enumerate(("abcdef0123", "9876543210")):
        write_run(tmp_path, "ce", seed, tags={"data_sha256": sha256})
    names = [each.setting for each in compare(load_runs(tmp_path))]

    assert sorted(names) == ["digits with cnn, images 98765432", "digits with cnn, images abcdef01"]


def test_of_numbers_and_a_word_no_number_is_the_largest_tried(tmp_path):
    for norm, top1 in ((0.5, 0.8), (1.0, 0.9), (None, 0.7)):
        write_loss(tmp_path, "ce", top1, clip_norm=norm)

    assert compared(tmp_path).at_edge == []


def test_the_speed_of_a_loss_is_the_mean_of_the_runs_that_know_theirs(tmp_path):
    for seed, speed in enumerate((1000.0, 3000.0, None)):
        edit(write_run(tmp_path, "ce", seed), examples_per_second=speed)

    assert compared(tmp_path).rows[0].examples_per_second == 2000
