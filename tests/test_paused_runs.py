"""How paused runs stand in lists, sweeps and reports, and their scores on val."""

import json
from pathlib import Path
from typing import Any

import pytest
from compared_losses import compared, unfinished, write_loss
from omegaconf import DictConfig
from written_run import write_run

from xent_bench.commands.status import main as status_main
from xent_bench.failures import DataError
from xent_bench.report.notes import warnings
from xent_bench.runs.begun import Unfinished, is_paused, pause, save_begun
from xent_bench.runs.curves import WRITTEN
from xent_bench.runs.files import CURVES, RESULT
from xent_bench.runs.outcome import outcome, pause_line
from xent_bench.runs.status import State, experiments_in
from xent_bench.runs.sweep_record import (
    RECORD,
    Planned,
    Sweep,
    load_sweep,
    save_sweep,
    without_result,
)
from xent_bench.runs.val_at import val_at
from xent_bench.sweeps.lines import Tally
from xent_bench.sweeps.slurm import Slurm
from xent_bench.sweeps.slurm_queue import JobState

NLL = {1: 0.9, 2: 0.5, 3: 0.7, 4: 0.5, 5: 0.6}
TOP1 = {1: 0.3, 2: 0.5, 3: 0.6, 4: 0.7, 5: 0.65}


def begun(folder: Path, reason: str, **params: Any) -> Path:
    """Write a run that has trained five epochs and ended for a reason."""
    folder.mkdir(parents=True)
    chosen = {"loss": "ce", "data": "digits", "model": "cnn", "seed": 0} | params
    save_begun(Unfinished(folder.name, "mine", chosen, f"xent-train {folder.name}", reason), folder)
    steps = {
        str(step): {"val/nll": NLL[step], "val/top1": TOP1[step], WRITTEN: 1e9} for step in NLL
    }
    (folder / CURVES).write_text(json.dumps(steps))
    return folder


def planned(folder: Path, pause_after: int | None = None) -> Planned:
    return Planned(
        *(folder.name, f"xent-train {folder.name}", ["seed=0"], folder, "temperature"),
        *(False, True),
        pause_after=pause_after,
    )


def test_the_score_after_an_epoch_is_that_of_the_weights_that_would_be_evaluated(tmp_path):
    last = begun(tmp_path / "last", "killed", choose_by="val/top1", patience=3)
    by_nll = begun(tmp_path / "nll", "killed", choose="best", choose_by="val/nll")
    by_top1 = begun(tmp_path / "top1", "killed", choose="best", choose_by="val/top1")

    assert [val_at(last, epoch, "val/nll") for epoch in NLL] == list(NLL.values())
    # of the equal epochs 2 and 4 the earlier one
    assert [val_at(by_nll, epoch, "val/nll") for epoch in NLL] == [0.9, 0.5, 0.5, 0.5, 0.5]
    assert [val_at(by_nll, epoch, "val/top1") for epoch in NLL] == [0.3, 0.5, 0.5, 0.5, 0.5]
    assert [val_at(by_top1, epoch, "val/nll") for epoch in NLL] == [0.9, 0.5, 0.7, 0.5, 0.5]


def test_a_run_has_no_score_after_an_epoch_that_it_has_not_reached(tmp_path):
    paused = begun(tmp_path / "paused", pause(5, 20))

    assert val_at(paused, 5, "val/nll") == 0.6
    assert val_at(paused, 6, "val/nll") is None
    assert val_at(paused, 5, "val/ece") is None
    assert val_at(tmp_path / "nothing", 1, "val/nll") is None


def test_a_run_that_ended_early_keeps_its_last_score(tmp_path):
    finished = begun(tmp_path / "finished", "killed", patience=1)
    (finished / RESULT).write_text("{}")

    assert val_at(finished, 9, "val/nll") == 0.6
    assert val_at(finished, 3, "val/nll") == 0.7


def test_a_score_that_is_no_number_is_none_and_infinity_is_a_score(tmp_path):
    folder = begun(tmp_path / "run", "killed", choose="best", choose_by="val/nll")
    steps = {"1": {"val/nll": float("nan"), WRITTEN: 1e9}, "2": {"val/nll": float("inf")}}
    (folder / CURVES).write_text(json.dumps(steps))

    assert val_at(folder, 1, "val/nll") is None
    assert val_at(folder, 2, "val/nll") == float("inf")


def test_damaged_curves_are_refused_by_name(tmp_path):
    folder = begun(tmp_path / "run", pause(5, 20))
    (folder / CURVES).write_text("{")

    with pytest.raises(DataError, match=r"curves\.json"):
        val_at(folder, 5, "val/nll")


def test_the_outcome_of_a_pause_is_its_reason_and_its_score_on_val(tmp_path):
    by_nll, by_top1 = (
        begun(tmp_path / name, pause(3, 20), choose="best", choose_by=f"val/{name}")
        for name in ("nll", "top1")
    )

    assert outcome(by_nll)["metrics"] == {"val/nll": 0.5, "val/top1": 0.5}
    assert pause_line(outcome(by_nll)) == "paused after epoch 3 of 20: val/nll 0.500"
    assert pause_line(outcome(by_top1)) == "paused after epoch 3 of 20: val/top1 0.600"
    assert pause_line(outcome(write_run(tmp_path, "ce", 0))) == ""
    with pytest.raises(DataError, match=r"result\.json"):
        outcome(begun(tmp_path / "killed", "killed"))


def test_a_paused_run_needs_no_training_unless_the_last_sweep_asks_for_more(tmp_path, capsys):
    folder = tmp_path / "runs" / "mine"
    runs = {name: begun(folder / name, pause(5, 20)) for name in ("as_asked", "short", "earlier")}
    save_sweep(folder, Sweep(None, "xent-train -m", [planned(runs["as_asked"], 5)]))
    (searched,) = experiments_in(folder.parent)
    more = [planned(runs["as_asked"], 5), planned(runs["short"], 13)]
    save_sweep(folder, Sweep(None, "xent-train -m", more))
    (cut,) = experiments_in(folder.parent)
    with pytest.raises(SystemExit) as end:
        status_main([str(folder.parent)])
    shown = capsys.readouterr().out

    assert searched.is_done
    assert {run.state for run in searched.runs} == {State.PAUSED}
    assert {run.name: (run.state, run.why) for run in cut.runs} == {
        "as_asked": (State.PAUSED, "paused after epoch 5 of 20"),
        "short": (State.STOPPED, "paused after epoch 5 of 20"),
        "earlier": (State.PAUSED, "paused after epoch 5 of 20"),
    }
    assert not State.PAUSED.needs_training
    assert end.value.code == 1
    assert "3 runs: 2 paused, 1 stopped" in shown
    assert "To finish all of them: xent-train -m\n" in shown
    assert "To go on with a paused run: its command without machine.pause_after" in shown
    assert "nothing is to be typed" not in shown


def test_a_record_of_a_sweep_keeps_the_pause_and_one_of_before_has_none(tmp_path):
    sweep = Sweep("key", "xent-train -m", [planned(tmp_path / "a", 7), planned(tmp_path / "b")])
    save_sweep(tmp_path, sweep)
    kept = load_sweep(tmp_path)
    content = json.loads((tmp_path / RECORD).read_text())
    content["runs"] = [run[:9] for run in content["runs"]]  # as before there were pauses
    del content["sha256"]
    (tmp_path / RECORD).write_text(json.dumps(content))
    before = load_sweep(tmp_path)
    content["runs"] = [[*run, "7"] for run in content["runs"]]
    (tmp_path / RECORD).write_text(json.dumps(content))

    assert kept == sweep
    assert [run.pause_after for run in before.runs] == [None, None]
    assert load_sweep(tmp_path) is None  # as a damaged one: composed again


def test_runs_that_are_paused_as_asked_are_not_open_in_a_report(tmp_path):
    runs = [begun(tmp_path / name, pause(5, 20)) for name in ("a", "b")]
    save_sweep(tmp_path, Sweep(None, "xent-train -m", [planned(run, 5) for run in runs]))
    as_asked = without_result([tmp_path])
    save_sweep(tmp_path, Sweep(None, "xent-train -m", [planned(runs[0], 5), planned(runs[1])]))
    (line,) = without_result([tmp_path])

    assert as_asked == []
    assert line.startswith("Of the 2 runs of the last sweep in")
    assert "1 have no result" in line


def test_a_pause_ends_a_run_of_a_sweep_like_a_result(tmp_path, capsys):
    tally = Tally(3, 2)
    content = outcome(begun(tmp_path / "a", pause(3, 20)))
    tally.done("focal-s0 lr=0.01", content, "temperature", trained=True)
    job = planned(begun(tmp_path / "b", pause(5, 20)), 5)
    Slurm(submitit_folder=str(tmp_path))._end(
        "7", [(job, DictConfig({}))], JobState("COMPLETED", ""), tally
    )
    tally.say_sum(tmp_path)
    shown = capsys.readouterr().out

    assert "[ 2/3] focal-s0 lr=0.01 paused after epoch 3 of 20: val/nll 0.700" in shown
    assert "[ 3/3] b              paused after epoch 5 of 20: val/nll 0.600\n" in shown
    assert "3 runs: 2 paused, 1 done before" in shown
    assert "xent-report" not in shown  # which has nothing to report
    assert tally.codes == []


def test_a_search_with_rungs_says_that_it_counts_stages_and_not_runs(tmp_path, capsys):
    tally = Tally(2, 2, has_stages=True, may_grow=True)
    tally.start -= 60
    content = outcome(begun(tmp_path / "a", pause(3, 20)))
    tally.done("a", content, "temperature", trained=True)
    tally.done("b", content, "temperature", trained=True)
    tally.add_round(2, 1, 0, may_grow=False)
    tally.done("a", content, "temperature", trained=True)
    first, _, last = capsys.readouterr().out.splitlines()

    assert first.startswith("[ 1/2 stages] a ")
    assert first.endswith(", at least 60 s left")
    assert last.startswith("[ 3/3 stages] a ")
    assert tally.words_of_left(20) == ", 20 s left"  # nothing follows


def test_a_job_that_ended_before_its_pause_has_failed(tmp_path, capsys):
    tally = Tally(1, 1)
    job = planned(begun(tmp_path / "b", pause(5, 20)), 13)
    Slurm(submitit_folder=str(tmp_path))._end(
        "7", [(job, DictConfig({}))], JobState("COMPLETED", ""), tally
    )

    assert len(tally.codes) == 1
    assert "FAILED: job 7 COMPLETED" in capsys.readouterr().out


def test_a_report_does_not_call_a_paused_run_failed(tmp_path):
    write_loss(tmp_path, "ce", 0.9, **{"optimizer.lr": 0.1})
    write_loss(tmp_path, "focal", 0.9, **{"optimizer.lr": 0.1})
    for seed in range(4):
        unfinished(tmp_path, "focal", seed, pause(7, 20), **{"optimizer.lr": 0.3})
        unfinished(tmp_path, "mse", seed, pause(7, 20), **{"optimizer.lr": 0.3})
    paused = compared(tmp_path)
    unfinished(tmp_path, "mse", 0, "Diverged: at step 3", **{"optimizer.lr": 0.9})
    failed = compared(tmp_path)
    tried = {trial.label: [is_paused(run) for run in trial.unfinished] for trial in paused.trials}

    assert not any("without a result" in note for note in warnings(paused))
    (note,) = [note for note in warnings(failed) if "without a result" in note]
    assert "Diverged" in note
    assert "paused" not in note
    assert tried["focal lr=0.3"] == tried["mse lr=0.3"] == [True] * 4
    assert {row.label: row.n for row in paused.rows} == {"ce": 4, "focal": 4, "mse": 0}
