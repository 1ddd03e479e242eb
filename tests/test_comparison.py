"""Comparisons of losses: which runs are compared, what is claimed, and which runs are missing."""

import pytest
from compared_losses import JITTER, NOISE, SEEDS, compared, contrast, unfinished, write_loss
from written_run import edit, write_run

from xent_bench.commands.report import main
from xent_bench.comparison.compare import compare
from xent_bench.comparison.yardsticks import with_ties
from xent_bench.report.comparison_tables import power
from xent_bench.report.conclusion import conclusion
from xent_bench.report.notes import facts
from xent_bench.runs.result import load_runs
from xent_bench.tables import Table, print_table


def test_a_verdict_is_of_the_difference_and_not_of_the_intervals(tmp_path):
    """Seeds differ by more than losses do: unpaired, these intervals overlap."""
    write_loss(tmp_path, "ce", 0.90)
    for loss, top1 in (("gce", 0.906), ("mae", 0.894), ("focal", 0.9001)):
        write_loss(tmp_path, loss, top1)
    write_loss(tmp_path, "poly1", 0.904, jitter=9)
    comparison = compared(tmp_path, yardsticks=with_ties({"top1": 0.3}))

    assert contrast(comparison, "gce").verdict == "better"
    assert contrast(comparison, "mae").verdict == "worse"
    assert contrast(comparison, "focal").verdict == "tie within 0.3 points"
    assert contrast(comparison, "poly1").verdict == "inconclusive"


def test_where_less_is_better_the_sign_of_a_verdict_turns(tmp_path):
    for seed in SEEDS:
        write_run(tmp_path, "ce", seed, metrics={"test/nll": 0.4 + NOISE[seed]})
        better = 0.3 + NOISE[seed] + JITTER[seed]
        write_run(tmp_path, "gce", seed, metrics={"test/nll": better})
    comparison = compared(tmp_path)

    assert contrast(comparison, "gce", "test/nll").verdict == "better"
    assert contrast(comparison, "gce", "test/nll").difference.improvement == 1


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
    comparison = compared(tmp_path)

    assert contrast(comparison, "gce").difference.n == 2
    assert [run.seed for run in comparison.empty_cells] == ["0", "3"]
    assert "loss=gce" in comparison.empty_cells[0].command
    assert "seed=0" in comparison.empty_cells[0].command


def test_an_infinite_score_is_no_difference_that_seeds_could_show(tmp_path):
    """Both losses have one infinite score, with different seeds."""
    for seed in SEEDS:
        for loss, unlucky in (("ce", 1), ("square", 2)):
            nll = float("inf") if seed == unlucky else 0.4 + NOISE[seed]
            write_run(tmp_path, loss, seed, metrics={"test/nll": nll})
    difference = contrast(compared(tmp_path), "square", "test/nll")

    assert difference.verdict == "inconclusive"
    assert difference.difference.improvement == 0.5
    assert difference.difference.half_width is None


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


def test_what_differs_between_losses_beside_the_loss_is_said_and_not_ranked(tmp_path):
    """Each loss has two trials, but not over the same values."""
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "ce", 0.92, **{"optimizer.lr": 0.2})
    write_loss(tmp_path, "gce", 0.91, **{"loss.q": 0.7})
    write_loss(tmp_path, "gce", 0.90, **{"loss.q": 0.5})
    comparison = compared(tmp_path)

    assert comparison.confounded == ["optimizer.lr: ce 0.1, 0.2; gce 0.1"]
    assert comparison.contrasts == []
    assert "not only the loss differs" in conclusion(comparison)
    assert "optimizer.lr: ce 0.1, 0.2; gce 0.1" in conclusion(comparison)
    assert "better than" not in conclusion(comparison)


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
    """A smoke test with more seeds than the sweep must not change the sweep's comparison."""
    write_loss(tmp_path, "ce", 0.90, seeds=(0, 1))
    write_loss(tmp_path, "gce", 0.91, seeds=(0, 1))
    write_loss(tmp_path, "ce", 0.30, seeds=(0, 1, 2), **change)
    sections = {section.setting: section for section in compare(load_runs(tmp_path))}
    ((key, value),) = change.items()
    (other,) = [name for name in sections if f"{key}={value}" in name]

    assert sections[other].rows[0].n == 3
    (sweep,) = [section for name, section in sections.items() if name != other]
    assert [(row.label, row.n, row.trials) for row in sweep.rows] == [("ce", 2, 1), ("gce", 2, 1)]
    assert sweep.unranked == ""


def test_a_hole_in_the_grid_of_one_loss_is_listed(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "ce", 0.91, seeds=(0, 1, 2), **{"optimizer.lr": 0.2})

    assert [(run.label, run.seed) for run in compared(tmp_path).empty_cells] == [("ce lr=0.2", "3")]


def test_what_one_loss_of_two_tried_alone_is_no_hole_of_the_other(tmp_path):
    write_loss(tmp_path, "ce", 0.90)
    write_loss(tmp_path, "gce", 0.90)
    write_loss(tmp_path, "ce", 0.91, **{"optimizer.lr": 0.2})

    assert compared(tmp_path).empty_cells == []


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
    assert "No such change is shown: it may be chance." in " ".join(facts(compared(tmp_path)))


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
    names = [section.setting.rpartition("=")[2] for section in compare(load_runs(tmp_path))]

    assert names == ["2", "10", "100"]


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


@pytest.mark.parametrize(("epochs", "is_said"), [(1, True), (2, False)])
def test_training_of_one_epoch_is_said_to_show_no_trend(tmp_path, epochs, is_said):
    for loss in ("ce", "gce"):
        write_loss(tmp_path, loss, 0.9, epochs=epochs)
    text = conclusion(compared(tmp_path))

    assert ("Trained for one epoch: whether val/nll would fall further" in text) == is_said


def test_a_comparison_names_the_net_of_a_library(tmp_path):
    for loss in ("ce", "gce"):
        write_loss(tmp_path, loss, 0.9, model="timm", **{"model.name": "test_vit"})

    assert "digits with timm test_vit" in conclusion(compared(tmp_path))


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
    missing = compared(tmp_path).empty_cells

    assert [(run.label, run.seed) for run in missing] == [
        ("gce lr=0.2", seed) for seed in ("1", "2", "3")
    ]
    assert "optimizer.lr=0.2 seed=3" in missing[-1].command
    assert missing[-1].command.count("seed=") == 1


def test_images_nets_and_precisions_are_compared_apart(tmp_path):
    for what in ({"model.width": 16}, {"model.width": 32}, {"data": "synthetic"}):
        write_loss(tmp_path, "ce", 0.9, **what)
    names = [section.setting for section in compare(load_runs(tmp_path))]

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
    shown = compared(tmp_path)._replace(flips=[flip._replace(shown=True)])
    assert "No such change is shown" not in " ".join(facts(shown))


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
    comparison = compared(tmp_path)
    small, large = ({row[0]: int(row[3]) for row in power(comparison, p).rows} for p in (0.3, 0.6))

    assert small["poly1"] > small["gce"]
    assert small["poly1"] > large["poly1"]


def test_seeds_needed_cannot_be_told_from_one_seed(tmp_path):
    write_loss(tmp_path, "ce", 0.90, seeds=(0,))
    write_loss(tmp_path, "gce", 0.91, seeds=(0,))

    table = power(compared(tmp_path), 0.3)

    assert table.rows == [["gce", "1", "-", "-", "-", "-"]]
    assert "at 5 % over 1 loss and the secondary metrics (Bonferroni)" in table.notes[0]


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


def test_a_table_too_wide_for_a_terminal_keeps_the_names_of_its_rows(capsys):
    numbers = ["+0.011±0.008 worse"] * 6
    print_table(Table("Against ce", ["loss", *["a metric"] * 6], [["focal", *numbers]], []))

    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if "worse" in line]
    assert all(row.strip().startswith("focal") for row in rows)
    assert [row.count("worse") for row in rows] == [4, 2]
    assert max(map(len, lines)) <= 100
