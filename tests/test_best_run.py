"""The choice of the best run below a place: on val alone."""

import json
import shutil
import subprocess
import sys

import pytest
from written_run import write_run

from xent_bench.comparison.best_run import best_of, best_run, chosen_run, seeds_of
from xent_bench.config.design_keys import DESIGN
from xent_bench.failures import DataError


def write_seeds(root, loss, val, *, test=(0.9, 0.9, 0.9), nll=0.4, tags=None, **params):
    """Write a run for each score on val; returns their folders."""
    return [
        write_run(
            root,
            loss,
            seed,
            metrics={"val/top1": score, "test/top1": test[seed], "val/nll": nll},
            tags=tags,
            **params,
        )
        for seed, score in enumerate(val)
    ]


def test_the_loss_with_the_best_mean_on_val_gives_its_best_seed(tmp_path):
    """ce has the best single run; focal has the better mean, 0.93 to 0.92."""
    write_seeds(tmp_path, "ce", (0.99, 0.88, 0.89))
    _, best, _ = write_seeds(tmp_path, "focal", (0.92, 0.95, 0.92))

    assert best_run(tmp_path) == best
    assert chosen_run(tmp_path)[1] == (
        "focal is the best of 2 losses on val (mean val/top1 0.93 over 3 seeds), and seed 1 the "
        f"best of its seeds (0.95); test chose nothing: {best}"
    )


def test_test_plays_no_part_in_the_choice(tmp_path):
    write_seeds(tmp_path, "ce", (0.90, 0.91, 0.90), test=(1.0, 1.0, 1.0))
    *_, best = write_seeds(tmp_path, "focal", (0.92, 0.92, 0.93), test=(0.1, 0.2, 0.1))

    assert best_run(tmp_path) == best


def test_the_metric_is_that_by_which_the_design_searches(tmp_path):
    tags = {DESIGN: json.dumps({"search_by": "val/nll"})}
    write_seeds(tmp_path, "ce", (0.99, 0.99), nll=0.5, tags=tags)
    best, _ = write_seeds(tmp_path, "focal", (0.8, 0.7), nll=0.3, tags=tags)

    assert best_of(tmp_path).choose_by == "val/nll"
    assert best_run(tmp_path) == best  # its seeds tie, and the smaller one is taken


def test_a_tie_on_val_is_broken_by_the_nll_there_and_then_by_the_name(tmp_path):
    for loss, nll in (("ce", 0.4), ("mae", 0.3), ("gce", 0.3)):
        write_seeds(tmp_path, loss, (0.9, 0.9), nll=nll)

    assert best_of(tmp_path).label == "gce"


def test_of_the_trials_of_a_loss_the_best_one_counts(tmp_path):
    write_seeds(tmp_path, "ce", (0.9, 0.9), **{"optimizer.lr": 0.1})
    best, _ = write_seeds(tmp_path, "ce", (0.95, 0.94), **{"optimizer.lr": 0.2})
    best_choice = best_of(tmp_path)

    assert best_run(tmp_path) == best
    assert best_choice.label == "ce lr=0.2"
    assert len(best_choice.members) == 2


def test_a_run_is_its_own_best_also_without_a_result(tmp_path):
    folder, _ = write_seeds(tmp_path, "ce", (0.9, 0.95))
    copied = tmp_path / "copied"
    copied.mkdir()
    (copied / "net.json").write_text("{}")

    assert best_run(folder) == folder
    assert best_run(copied) == copied
    assert chosen_run(folder) == (folder, "")


def test_several_settings_are_named_and_refused(tmp_path):
    write_seeds(tmp_path, "ce", (0.9,))
    write_seeds(tmp_path, "ce", (0.9,), model="mlp")

    with pytest.raises(DataError, match=r"runs of 2 settings.*digits with cnn.*digits with mlp"):
        best_run(tmp_path)


def test_a_place_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected a finished run"):
        best_run(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        best_run(tmp_path / "none")


def test_the_seeds_of_a_run_are_those_that_differ_in_nothing_else(tmp_path):
    folders = write_seeds(tmp_path, "ce", (0.9, 0.9, 0.9))
    write_seeds(tmp_path, "focal", (0.9, 0.9))
    write_seeds(tmp_path, "ce", (0.9, 0.9), **{"optimizer.lr": 0.3})

    assert [run.folder for run in seeds_of(folders[1])] == folders


def test_pytorch_is_not_needed():
    code = "import sys, xent_bench.comparison.best_run; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert answer.stdout == "False\n", answer.stderr


def test_losses_and_seeds_that_are_equal_on_val_are_not_called_worse(tmp_path):
    write_seeds(tmp_path, "ce", (0.9, 0.9, 0.8))
    write_seeds(tmp_path, "gce", (0.9, 0.9, 0.8), nll=0.5)
    write_seeds(tmp_path, "mae", (0.7, 0.7, 0.7))

    assert best_of(tmp_path).reason.startswith(
        "ce is one of the 2 best of 3 losses on val (mean val/top1 0.8667 over 3 seeds; gce has "
        "the same, and comes after it by val/nll or by name), and seed 0 one of the 2 best of its "
        "seeds (0.9); test chose nothing: "
    )


def test_a_run_that_lies_there_twice_is_refused_and_no_seed_counts_twice(tmp_path):
    write_seeds(tmp_path / "a", "ce", (0.9, 0.8))
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    with pytest.raises(DataError, match="the same run twice, which would count twice"):
        best_run(tmp_path)
