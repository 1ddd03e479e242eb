"""xent-status: what of a sweep is done, what is not, and what to type for it."""

import io
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rich.console
from filelock import FileLock
from written_run import write_run

from xent_bench.commands.status import main
from xent_bench.runs.begun import BEGUN, Unfinished, save_begun
from xent_bench.runs.files import JOB, NOT_IN_MLFLOW
from xent_bench.runs.lacking import Lack, lacking
from xent_bench.runs.pace import Pace, load_pace, save_pace
from xent_bench.runs.result import Run, save_run
from xent_bench.runs.status import State, experiments_in
from xent_bench.runs.sweep_record import Planned, Sweep, load_sweep, save_sweep
from xent_bench.sweeps.lines import Tally
from xent_bench.sweeps.live import ShownRun, _table

SWEEP = "xent-train -m seed=0,1,2,3,4,5,6"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A sweep of seven runs, each of which stands otherwise; seed 0 is done."""
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    planned = [
        Planned(
            *(f"ce-s{seed}", f"xent-train seed={seed}", [f"seed={seed}"]),
            *(Path("runs", "mine", f"ce-{seed}"), "temperature", False, False),
        )
        for seed in range(7)
    ]
    save_sweep(folder, Sweep("key", SWEEP, planned))
    reasons = {1: "killed", 2: "Preempted: told to end by SIGTERM", 3: "Diverged: at step 3"}
    for seed, reason in ({0: "", 6: "", 4: "killed"} | reasons).items():
        run = folder / f"ce-{seed}"
        run.mkdir()
        save_begun(Unfinished(f"ce-s{seed}", "mine", {}, "", reason), run)
    for seed in (0, 6):
        params = {"loss": "ce", "data": "digits", "model": "cnn", "seed": seed}
        scores = {"test/top1": 0.5, "test_ts/top1": 0.5}
        done = Run(f"ce-s{seed}", "mine", params, scores, {}, "", n_test=9, seconds=1.5)
        save_run(done, folder / f"ce-{seed}")
    (folder / "ce-6" / NOT_IN_MLFLOW).touch()
    save_pace(folder / "ce-1", Pace(2.5, 20, 70.0, time.time()))
    save_pace(folder / "ce-4", Pace(3.5, 20, 66.0, time.time()))
    return tmp_path / "runs"


def test_each_run_stands_as_its_folder_says(runs):
    with FileLock(runs / "mine" / "ce-4" / ".lock"):
        (found,) = experiments_in(runs)

    assert [(run.name, run.state, run.why) for run in found.runs] == [
        ("ce-s0", State.DONE, ""),
        ("ce-s1", State.STOPPED, "killed at epoch 2.5/20"),
        ("ce-s2", State.STOPPED, "told to end by SIGTERM"),
        ("ce-s3", State.FAILED, "Diverged: at step 3"),
        ("ce-s4", State.RUNNING, "epoch 3.5/20, 66 s left"),
        ("ce-s5", State.MISSING, ""),
        ("ce-s6", State.NOT_IN_MLFLOW, "trained; its upload is missing"),
    ]
    assert not found.is_done


def test_what_a_finished_run_lacks_of_what_is_asked_is_named(runs):
    folder = runs / "mine"
    sweep = load_sweep(folder)
    asked = sweep.runs[0]._replace(calibrator="isotonic", weights=True)
    save_sweep(folder, sweep._replace(runs=[asked, *sweep.runs[1:6]]))
    (folder / "ce-6" / "result.json").write_text("{")
    (found,) = experiments_in(runs)
    standings = {run.name: (run.state, run.why) for run in found.runs}

    assert lacking(folder / "ce-0", asked.asked) == Lack.CALIBRATOR | Lack.WEIGHTS
    assert standings["ce-s0"] == (
        State.STOPPED,
        "trained; it lacks its calibrator's numbers and its weights",
    )
    assert standings["ce-6"] == (State.STOPPED, "its result.json is damaged")


def test_a_sweep_is_not_said_to_finish_runs_that_are_not_its_own(runs, capsys):
    other = runs / "mine" / "mse-0"
    other.mkdir()
    save_begun(Unfinished("mse-s0", "mine", {}, "xent-train loss=mse", "killed"), other)
    with pytest.raises(SystemExit):
        main([str(runs)])
    shown = capsys.readouterr().out

    assert f"To finish those of the last sweep: {SWEEP}\n" in shown
    assert "  xent-train loss=mse\n" in shown


def test_what_to_type_is_said_for_all_and_for_each(runs, capsys):
    with FileLock(runs / "mine" / "ce-4" / ".lock"), pytest.raises(SystemExit) as end:
        main([str(runs)])
    shown = capsys.readouterr().out

    assert end.value.code == 1
    assert f"To finish all of them: {SWEEP}\n" in shown
    typed = [line.strip() for line in shown.splitlines() if line.startswith("  xent-train")]
    assert typed == [f"xent-train seed={seed}" for seed in (1, 2, 3, 5)]
    assert "7 runs: 1 done, 1 running, 2 stopped, 1 failed, 1 missing, 1 not in MLflow" in shown
    assert f"xent-sync {runs / 'mine'}" in shown


def test_a_folder_whose_run_has_not_begun_is_no_run(runs):
    other = runs / "mine" / "mse-0"
    other.mkdir()
    (other / "config.yaml").write_text("loss: mse")
    (runs / "mine" / "ce-1" / BEGUN).unlink()
    (found,) = experiments_in(runs)
    states = {run.name: run.state for run in found.runs}

    assert "mse-0" not in states
    assert states["ce-s1"] is State.MISSING


def test_all_done_is_said_in_one_line_and_by_the_exit_code(runs, capsys):
    sweep = load_sweep(runs / "mine")
    save_sweep(runs / "mine", sweep._replace(runs=sweep.runs[:1]))
    for seed in range(1, 7):
        for file in (runs / "mine").glob(f"ce-{seed}/*"):
            file.unlink()
    with pytest.raises(SystemExit) as end:
        main([str(runs)])

    assert end.value.code == 0
    assert capsys.readouterr().out == f"\n{runs / 'mine'}\n1 run: 1 done\n"


def test_runs_of_no_recorded_sweep_are_shown_too(runs):
    (runs / "mine" / ".sweep.json").write_text("{")
    (found,) = experiments_in(runs / "mine")

    assert [run.state for run in found.runs].count(State.DONE) == 2
    assert found.command == ""


def test_runs_that_saw_different_data_or_code_are_named_in_a_line(runs, capsys):
    tags = {"data_sha256": "a", "loss_sha256": "b", "optimizer_sha256": "c"}
    params = {"loss": "mine.focal", "data": "digits", "optimizer": "sgd"}
    other = {"data_sha256": "z", "loss_sha256": "y"}
    for seed, seen in ((1, tags), (2, tags), (3, tags | other), (4, {})):
        begun = Unfinished(f"ce-s{seed}", "mine", params, "", "killed", seen)
        save_begun(begun, runs / "mine" / f"ce-{seed}")
    for loss, seen in (("focal", tags), ("ce", tags)):  # finished, on the same data; another loss
        write_run(runs, loss, 9, tags=seen, experiment="mine", optimizer="sgd")
    with pytest.raises(SystemExit):
        main([str(runs)])
    (line,) = [s for s in capsys.readouterr().out.splitlines() if s.startswith("Not all runs")]

    assert line == (
        "Not all runs saw the same: images or labels of digits (ce-s3 differs from the other 4 "
        "runs); code of loss focal (ce-s3 differs from the other 2 runs)"
    )


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_runs_is_named(tmp_path, monkeypatch, capsys, folder):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main([folder])

    assert end.value.code == 3
    assert capsys.readouterr().err.startswith("xent-status: ")


@pytest.mark.parametrize("content", ["", "[]", '{"epoch": "x"}', '{"epoch": 1, "epochs": 2}'])
def test_a_damaged_progress_is_none(tmp_path, content):
    (tmp_path / "progress.json").write_text(content)

    assert load_pace(tmp_path) is None


def test_it_imports_nothing_heavy(runs):
    probe = (
        "import sys; from xent_bench.commands.status import main\n"
        "try: main(['runs'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'mlflow', 'hydra', 'omegaconf', 'numpy'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", probe], cwd=runs.parent, capture_output=True, text=True, check=True
    )

    assert shown.stdout.splitlines()[-1] == "[]"


def test_runs_in_slurms_queue_are_said_to_wait_and_need_no_command(runs, monkeypatch, capsys):
    """A squeue on the PATH answers as SLURM's does: one job waits, one runs, one has failed."""
    for seed, job in ((1, "17_0"), (5, "17_1"), (3, "17_2"), (2, "17_3")):
        place = runs / "mine" / f"ce-{seed}"
        place.mkdir(exist_ok=True)
        (place / JOB).write_text(job)
    answers = ("17_0|PENDING|Priority", "17_1|RUNNING|None", "17_2|FAILED|NonZeroExitCode")
    answer = "\\n".join([*answers, "17_3|PENDING|BeginTime"])
    squeue = runs.parent / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(f"#!/bin/sh\nprintf '{answer}\\n'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(squeue.parent), prepend=":")
    with pytest.raises(SystemExit) as end:
        main([str(runs)])
    shown = capsys.readouterr().out

    assert end.value.code == 1
    assert re.search(r"ce-s1 +waiting +job 17_0, killed at epoch 2.5/20", shown)
    assert re.search(r"ce-s2 +waiting +job 17_3, told to end by SIGTERM", shown)
    assert re.search(r"ce-s5 +running +starting \(job 17_1\)", shown)
    assert re.search(r"ce-s3 +failed", shown)
    typed = [line.strip() for line in shown.splitlines() if line.startswith("  xent-train")]
    assert typed == ["xent-train seed=3", "xent-train seed=4"]
    assert f"2 runs in SLURM's queue: nothing is to be typed; to watch: {SWEEP}" in shown


def test_without_a_queue_to_ask_a_run_given_to_slurm_is_shown_as_its_folder_says(
    runs, monkeypatch, capsys
):
    (runs / "mine" / "ce-1" / JOB).write_text("17_0")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit):
        main([str(runs)])
    shown = capsys.readouterr()

    assert re.search(r"ce-s1 +stopped", shown.out)
    assert shown.err.startswith("no SLURM here")


def test_a_running_run_that_notes_nothing_for_long_is_said_to_be_silent(runs):
    place = runs / "mine" / "ce-4"
    save_pace(place, Pace(3.5, 20, 66.0, time.time() - 300))
    with FileLock(place / ".lock"):
        (shown,) = experiments_in(runs)
    in_a_sweep = [
        ShownRun("ce-s4", (place,), start, tries=2).words()
        for start in (time.time() - 400, time.time() - 90, time.time(), 0)
    ]

    assert shown.runs[4].why == "epoch 3.5/20, 66 s left, silent for 5 min"
    assert in_a_sweep == [
        "epoch 3.5/20, retry 1, silent for 5 min",
        "starting, retry 1, silent for 90 s",
        "starting, retry 1",
        "epoch 3.5/20, retry 1, silent for 5 min",
    ]


def test_the_start_of_a_sweep_is_no_measure_of_the_time_left(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("xent_bench.sweeps.lines.time.monotonic", lambda: now)
    tally = Tally(total=10, missing=10)
    lefts = []
    for seconds, underway, ended in ((9, 0.0, 0), (1, 0.1, 0), (2, 0.5, 0), (2, 0.9, 0), (6, 0, 2)):
        now += seconds
        tally.trained = ended
        lefts.append(tally.time_left(underway))

    # no steps yet; first seen; 9.5 runs at 0.4 in 2 s; 9.1 at 0.8 in 4 s; 8 at 2 in all 20 s
    assert lefts == [None, None, pytest.approx(47.5), pytest.approx(45.5), pytest.approx(80)]


def test_a_running_sweep_shows_one_time_left_which_is_that_of_the_sweep(tmp_path):
    running = []
    for seed, (epoch, left) in enumerate(((5.0, 8.0), (4.0, 31.0))):
        folder = tmp_path / f"ce-{seed}"
        folder.mkdir()
        save_pace(folder, Pace(epoch, 20, left, time.time()))
        running.append(ShownRun(f"ce-s{seed}", (folder,), time.time() - 5, tries=1))
    tally = Tally(total=10, missing=10)
    tally.start -= 100  # most of them before the first steps
    tally.first = time.monotonic() - 40, 0.05  # 0.4 of a run since then, so 9.55 more take 955 s

    def displayed(waiting: int) -> str:
        console = rich.console.Console(width=100, file=io.StringIO(), force_terminal=False)
        console.print(_table(running, waiting, tally))
        return console.file.getvalue()

    assert re.findall(r"[\d.]+ \w+ left", displayed(waiting=0)) == ["31 s left"]  # the later one
    assert re.findall(r"[\d.]+ \w+ left", displayed(waiting=8)) == ["16 min left"]
    assert "ce-s0" in displayed(8)
    assert "epoch 5.0/20\n" in re.sub(" +\n", "\n", displayed(8))
