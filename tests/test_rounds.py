"""Sweeps whose later runs follow from the results of earlier ones."""

import pytest

from xent_bench.designs.cells import Cell, Trial, reseeded, settings_of

SWEPT = [
    ["epochs=1", f"loss={loss}", f"optimizer.lr={lr}", f"noise.rate={rate}", f"seed={seed}"]
    for loss in ("ce", "focal")
    for lr in (0.1, 0.2)
    for rate in (0, 0.4)
    for seed in (3, 5)
]


def test_runs_are_grouped_by_setting_loss_trial_and_seed():
    clean, noisy = settings_of(SWEPT, "ce", 0)

    clean, noisy = clean.cells, noisy.cells
    assert [cell.loss for cell in clean] == ["ce", "focal"]
    assert clean[1].trials[0] == Trial(
        ("optimizer.lr=0.1",),
        {
            3: ("epochs=1", "loss=focal", "optimizer.lr=0.1", "noise.rate=0", "seed=3"),
            5: ("epochs=1", "loss=focal", "optimizer.lr=0.1", "noise.rate=0", "seed=5"),
        },
    )
    assert noisy[0].trials[1].runs[5][3] == "noise.rate=0.4"
    assert noisy[0].seeds == [3, 5]


def test_a_run_that_names_neither_loss_nor_seed_has_those_of_the_config():
    (setting,) = settings_of([["epochs=1"]], "gce", 7)

    assert setting.epochs == 1
    assert setting.cells[0] == Cell("gce", [Trial((), {7: ("epochs=1",)})])


def test_a_loss_by_its_target_is_named_as_in_a_report():
    (setting,) = settings_of([["loss=own", "loss._target_=mine.losses.my_loss"]], "ce", 0)

    assert setting.cells[0].loss == "my_loss"


@pytest.mark.parametrize("words", [("loss=ce", "seed=1"), ("loss=ce",)])
def test_a_run_gets_another_seed(words):
    assert reseeded(words, 8) == ("loss=ce", "seed=8")


def test_what_changes_no_number_makes_no_trial():
    swept = [["machine.threads=1", "notes=a"], ["machine.threads=2", "notes=a"]]

    assert not any(setting.is_tuned for setting in settings_of(swept, "ce", 0))
