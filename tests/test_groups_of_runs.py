"""Which runs of a sweep train as one, how the groups are divided, and how they are tried again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
from conftest import answer
from mlflow import MlflowClient

from xent_bench.commands.train import main
from xent_bench.config.identity import run_folder, run_key
from xent_bench.exit_codes import Exit
from xent_bench.failures import Unreachable
from xent_bench.runs.begun import load_begun
from xent_bench.runs.status import State, experiments_in
from xent_bench.runs.sweep_record import Planned
from xent_bench.sweeps.endings import Ended, Failure
from xent_bench.sweeps.even_offline import train_even_offline
from xent_bench.sweeps.group_child import Task
from xent_bench.sweeps.group_child import _train as train_tasks
from xent_bench.sweeps.groups import grouped, kind_of
from xent_bench.sweeps.queued import Queued, next_tries

XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))
KILLED = Failure("killed by SIGKILL", Exit.UNAVAILABLE, again=True)
PREEMPTED = Failure("told to end by SIGTERM", Exit.PREEMPTED, again=True)
CRASHED = Failure("its process left with exit code 3", Exit.NOT_AS_EXPECTED)
SMALL = ("data=synthetic", "data.n=600", "model=linear", "machine=cpu", "machine.threads=1")

USERS_LOSSES = """
import os, signal
from pathlib import Path
from torch.nn import functional as F
from xent_bench.types import Index, Logits, PerExample

calls = {"raising": 0, "diverging": 0}

def raising(logits: Logits, target: Index) -> PerExample:
    calls["raising"] += 1
    if calls["raising"] > 9:
        raise ZeroDivisionError("a mistake")
    return F.cross_entropy(logits, target, reduction="none")

def diverging(logits: Logits, target: Index) -> PerExample:
    calls["diverging"] += 1
    return F.cross_entropy(logits, target, reduction="none") / (calls["diverging"] < 9)

def exiting(logits: Logits, target: Index) -> PerExample:
    if logits.requires_grad:
        raise SystemExit(7)
    return F.cross_entropy(logits, target, reduction="none")

def infinite(logits: Logits, target: Index) -> PerExample:
    return F.cross_entropy(logits, target, reduction="none") / 0

def killing(logits: Logits, target: Index) -> PerExample:
    if logits.requires_grad and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return F.cross_entropy(logits, target, reduction="none")
"""


@pytest.fixture
def planned(config):
    """Make a planned run from the words of its command."""

    def plan(*words: str):
        run = config(*words)
        folder = run_folder(run)
        name = " ".join(words)
        return Planned(
            name, f"xent-train {name}", list(words), folder, "temperature", False, True
        ), run

    return plan


def names(groups) -> list[list[str]]:
    return [[run.name for run, _ in group] for group in groups]


@pytest.mark.parametrize(
    "words",
    [
        ("loss=focal", "loss.gamma=3"),
        ("seed=7",),
        ("optimizer.lr=0.1", "optimizer.weight_decay=0"),
        ("schedule.warmup=0.1",),
        ("calibrator=isotonic",),
        ("notes=mine",),
    ],
)
def test_runs_that_differ_in_loss_seed_or_rates_are_of_one_kind(config, words):
    assert kind_of(config(*words)) == kind_of(config())


@pytest.mark.parametrize(
    "words",
    [
        ("data.n=700",),
        ("model.width=17",),
        ("model.depth=1",),
        ("batch_size=32",),
        ("accumulate=2",),
        ("epochs=4",),
        ("machine.pause_after=1",),
        ("optimizer=sgd",),
        ("clip_norm=1",),
        ("ema=0.9",),
        ("precision=bf16",),
        ("augmentation.cutout=2",),
        ("noise=symmetric", "noise.rate=0.1"),
        ("imbalance=step", "imbalance.ratio=2"),
        ("train_fraction=0.5",),
        ("choose=best",),
        ("patience=2",),
        ("machine.threads=2",),
        ("schedule=constant",),
    ],
)
def test_runs_that_differ_in_what_a_group_shares_are_of_other_kinds(config, words):
    assert kind_of(config(*words)) != kind_of(config())


def test_values_of_clip_norm_may_differ_where_all_runs_have_one(config):
    assert kind_of(config("clip_norm=1")) == kind_of(config("clip_norm=2"))


@pytest.mark.parametrize(
    "word", ["machine.together=1", "machine.devices=2", "machine.compile=default"]
)
def test_a_run_that_cannot_share_has_no_kind(config, word):
    assert kind_of(config(word)) is None


@pytest.mark.parametrize("word", ["machine.together=5", "machine.together=1"])
def test_together_is_no_part_of_a_runs_key(config, word):
    assert run_key(config(word)) == run_key(config())


def test_losses_of_a_seed_stand_side_by_side(planned):
    runs = [planned(f"loss={loss}", f"seed={seed}") for loss in ("ce", "mse") for seed in (0, 1)]

    assert names(grouped(runs, jobs=1)) == [
        ["loss=ce seed=0", "loss=mse seed=0", "loss=ce seed=1", "loss=mse seed=1"]
    ]


@pytest.mark.parametrize(
    ("runs", "most", "jobs", "sizes"),
    [
        (15, "auto", 1, [15]),
        (15, "auto", 2, [7, 8]),
        (15, 4, 1, [3, 4, 4, 4]),
        (15, 4, 3, [2, 3, 2, 3, 2, 3]),
        (130, "auto", 2, [32, 33, 32, 33]),
        (3, "auto", 2, [1, 2]),
        (3, "auto", 8, [1, 1, 1]),
        (2, 1, 1, [1, 1]),
    ],
)
def test_groups_are_as_large_as_allowed_and_every_job_has_one(planned, runs, most, jobs, sizes):
    run, config = planned(f"machine.together={most}")
    members = []
    for seed in range(runs):
        members.append((run._replace(folder=run.folder / str(seed)), config.copy()))
        members[-1][1].seed = seed

    assert [len(group) for group in grouped(members, jobs)] == sizes


def test_a_second_kind_takes_its_share_of_the_jobs(planned):
    runs = [planned(f"seed={n}") for n in range(6)]
    runs += [planned("batch_size=32", f"seed={n}") for n in range(6)]

    assert [len(group) for group in grouped(runs, jobs=2)] == [6, 6]


def test_runs_that_have_come_to_other_steps_are_other_groups(planned):
    runs = [planned(f"seed={n}") for n in range(4)]
    for run, _ in runs[1:3]:
        run.folder.mkdir(parents=True)
        (run.folder / "step0000000008-3f2a9c0e71d5b846.ckpt").touch()
        (run.folder / "step0000000016-3f2a9c0e71d5b846.ckpt").touch()

    assert names(grouped(runs, jobs=1)) == [["seed=0", "seed=3"], ["seed=1", "seed=2"]]


def test_what_is_only_to_be_completed_or_stands_twice_trains_alone(planned):
    runs = [planned(f"seed={n}") for n in range(3)]
    again = planned("seed=1", "calibrator=isotonic")
    runs[0][0].folder.mkdir(parents=True)
    (runs[0][0].folder / "result.json").touch()

    assert names(grouped([*runs, again], jobs=1)) == [
        ["seed=0"],
        ["seed=1", "seed=2"],
        ["seed=1 calibrator=isotonic"],
    ]


def test_a_kind_that_was_refused_trains_alone(planned):
    runs = [planned(f"seed={n}") for n in range(3)]
    refused = {kind_of(runs[0][1]): "a reason"}

    assert [len(group) for group in grouped(runs, 1, refused)] == [1, 1, 1]


def after(tries: int, failure: Failure, runs: list, left: int) -> tuple[list[int], str]:
    """Sizes of what is queued after so many tries, and the words; `left` runs have no end."""
    again = next_tries(Queued(runs, tries), runs[:left], failure)
    return [len(queued.runs) for queued in again.queue], again.words


def test_a_killed_group_is_tried_again_as_it_is_then_in_halves_then_alone(planned):
    runs = [planned(f"seed={n}") for n in range(5)]

    assert after(1, KILLED, runs, 5) == ([5], "tried again in 1 s")
    assert after(2, KILLED, runs, 5) == ([2, 3], "tried again in halves in 1 s")
    assert after(3, KILLED, runs, 2) == ([1, 1], "tried again in halves in 1 s")
    assert after(1, KILLED, runs, 1) == ([1], "tried again alone in 1 s")
    assert next_tries(Queued(runs, 3), runs[:2], KILLED).queue[0].tries == 0


def test_a_group_that_was_told_to_end_stays_whole(planned):
    runs = [planned(f"seed={n}") for n in range(5)]

    assert after(2, PREEMPTED, runs, 5)[0] == [5]
    assert after(3, PREEMPTED, runs, 5)[0] == [2, 3]


def test_the_runs_of_a_group_whose_process_left_by_itself_are_tried_alone(planned):
    runs = [planned(f"seed={n}") for n in range(3)]

    assert after(1, CRASHED, runs, 3) == ([1, 1, 1], "each tried again alone in 1 s")


def test_without_retries_a_killed_group_is_halved_at_once(planned):
    runs = [planned(f"seed={n}", "machine.retries=0") for n in range(4)]

    assert after(1, KILLED, runs, 4)[0] == [2, 2]


def test_half_a_group_whose_runs_were_saved_at_other_steps_is_two_groups(planned):
    runs = [planned(f"seed={n}") for n in range(4)]
    runs[0][0].folder.mkdir(parents=True)
    (runs[0][0].folder / "step0000000008-3f2a9c0e71d5b846.ckpt").touch()

    assert after(1, KILLED, runs, 4)[0] == [1, 3]


@pytest.mark.parametrize("value", ["0", "-2", "1.5", "many", "true", "null", "5000", "[2]"])
def test_another_value_of_together_is_refused_in_one_line(place, capfd, value):
    code = answer(main, "-m", "loss=ce,mse", f"machine.together={value}")

    line = capfd.readouterr().err
    assert code == 2
    assert line.startswith("xent-train: machine.together: expected auto, or a whole number from 1 ")
    assert line.count("\n") == 1
    assert not list(place.iterdir())


def environment(folder: Path) -> dict[str, str]:
    """With losses of the user's in the folder."""
    (folder / "users.py").write_text(USERS_LOSSES)
    (folder / "conf" / "loss").mkdir(parents=True, exist_ok=True)
    for name in ("raising", "diverging", "exiting", "infinite", "killing"):
        (folder / "conf" / "loss" / f"{name}.yaml").write_text(f"_target_: users.{name}\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path}


def command(*words: str) -> list[str]:
    return [XENT_TRAIN, "--config-dir", "conf", "-m", *SMALL, *words]


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def results(folder: Path) -> dict[str, Any]:
    """The finished runs, by loss and seed."""
    runs = [json.loads(file.read_text()) for file in folder.glob("runs/default/*/result.json")]
    return {f"{run['params']['loss']} {run['params']['seed']}": run for run in runs}


def in_mlflow(folder: Path) -> list[tuple[str, str]]:
    """Name and status of each run in the store."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("default")
    runs = client.search_runs([experiment.experiment_id])
    return sorted((run.info.run_name, run.info.status) for run in runs)


@pytest.fixture(scope="module")
def hurt(tmp_path_factory) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """A group of which a loss kills the process, one raises, and one is infinite."""
    folder = tmp_path_factory.mktemp("hurt")
    return folder, sweep(
        folder, "loss=ce,raising,diverging,exiting,infinite,killing,mse", "epochs=3"
    )


def test_a_member_that_fails_fails_alone_and_says_where_to_look(hurt):
    folder, done = hurt
    failed = [line for line in done.stdout.splitlines() if "FAILED" in line]

    assert len(failed) == 4
    assert "loss: SystemExit: 7" in "".join(failed)
    assert "the loss became inf in epoch" in "".join(failed)
    assert "expected finite values at equal outputs, got inf" in "".join(failed)
    assert not list(folder.glob("runs/default/infinite-*"))  # refused, and so never begun
    (raising,) = [line for line in failed if "ZeroDivisionError: a mistake in epoch" in line]
    log = folder / raising.partition("the traceback is in ")[2].partition(" (")[0]
    assert log.parent.name.startswith("raising-")
    assert "ZeroDivisionError: a mistake" in log.read_text()
    assert "7 runs: 3 trained, 4 failed" in done.stdout
    assert done.returncode in (2, 5)  # that of the first
    assert done.stderr == ""
    assert results(folder).keys() == {"ce 0", "users.killing 0", "mse 0"}


def test_a_killed_group_goes_on_and_names_the_file_with_what_it_printed(hurt):
    folder, done = hurt
    (line,) = [line for line in done.stdout.splitlines() if "killed by SIGKILL" in line]

    assert "runs together: killed by SIGKILL (out of memory?); see runs/default/.together/" in line
    assert "tried again in 1 s" in line
    assert (folder / line.partition("see ")[2].partition(";")[0]).stat().st_size
    assert [status for _, status in in_mlflow(folder)].count("FINISHED") == 3
    assert len(in_mlflow(folder)) == 5


def test_runs_that_share_too_little_train_alone_and_one_line_says_why(tmp_path):
    done = sweep(tmp_path, "loss=ce,mse,focal", "model=mlp", "model.width=1024", "epochs=1")

    reason = "Each run trains in a process of its own: the weights of one such net stay in the"
    assert done.stdout.count(reason) == 1
    assert "3 runs: 3 trained" in done.stdout
    assert done.stderr == ""
    assert not list(tmp_path.glob("runs/default/.together"))
    assert ["together" in run["tags"] for run in results(tmp_path).values()] == [False] * 3


def test_a_group_that_mlflow_no_longer_answers_goes_on_without(config, tmp_path, capfd):
    tasks = []
    for loss in ("ce", "mse"):
        one = config(f"loss={loss}", "machine.pause_after=1")
        one.machine.tracking = "http://127.0.0.1:9"
        tasks.append(Task(one, f"xent-train loss={loss}", run_folder(one)))
    parent, child = Pipe()
    last = train_tasks(tasks, tmp_path / "log.txt", child)

    assert last == Ended(None, None)
    assert {parent.recv() for _ in tasks} == {Ended(0, None), Ended(1, None)}
    assert not parent.poll()
    assert capfd.readouterr().out.count("; the runs go on without") == 1
    begun = [load_begun(task.folder).tags["together"] for task in tasks]
    assert begun == ["2 runs", "2 runs"]


JOB_OF_A_GROUP = """
import sys
from pathlib import Path
from xent_bench.sweeps.slurm_group import train_commands
train_commands(sys.argv[1:], Path("logs"))
"""


def job_of_a_group(
    folder: Path, *losses: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """What the process of a SLURM job does with the commands of these runs, without SLURM."""
    words = " ".join([*SMALL, "epochs=1"])
    commands = [f"xent-train loss={loss} {words}" for loss in losses]
    return subprocess.run(
        [sys.executable, "-c", JOB_OF_A_GROUP, *commands],
        cwd=folder,
        env=environment(folder) | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("losses", [("ce", "mse"), ("ce",)])
def test_the_runs_of_a_slurm_job_go_on_without_an_mlflow_that_does_not_answer(tmp_path, losses):
    silent = "http://127.0.0.1:9"
    done = job_of_a_group(tmp_path, *losses, MLFLOW_TRACKING_URI=silent)
    waiting = [*tmp_path.glob("runs/default/*/not_in_mlflow")]

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("; the runs go on without") == 1
    assert f"MLflow at {silent}: no answer" in done.stdout
    assert results(tmp_path).keys() == {f"{loss} 0" for loss in losses}
    assert len(waiting) == len(losses)  # and xent-sync sends them later
    assert "FAILED" not in done.stdout


def test_a_slurm_job_sends_to_an_mlflow_that_answers(tmp_path):
    done = job_of_a_group(tmp_path, "ce", "mse")

    assert done.returncode == 0, done.stderr
    assert "go on without" not in done.stdout
    assert in_mlflow(tmp_path) == [("ce-s0", "FINISHED"), ("mse-s0", "FINISHED")]


def test_runs_whose_start_mlflow_did_not_answer_are_trained_offline_and_others_once(config):
    configs = [config(f"seed={seed}") for seed in range(3)]
    asked: list[tuple[int, bool]] = []
    ends: dict[int, BaseException | None] = {}

    def train(numbers, ended):
        for number in numbers:
            offline = configs[number].machine.offline
            asked.append((number, offline))
            errors = {1: None if offline else Unreachable("MLflow: no answer"), 2: ValueError("x")}
            ended(number, errors.get(number))

    train_even_offline(configs, train, ends.__setitem__)
    assert asked == [(0, False), (1, False), (2, False), (1, True)]
    assert ends[0] is ends[1] is None
    assert isinstance(ends[2], ValueError)


def test_each_member_keeps_its_own_command(hurt):
    (begun,) = hurt[0].glob("runs/default/mse-*/begun.json")
    run = json.loads(begun.read_text())
    conf = hurt[0] / "conf"

    assert run["command"] == f"xent-train --config-dir {conf} {' '.join(SMALL)} loss=mse epochs=3"
    assert run["tags"]["command"] == run["command"]


def states(folder: Path) -> list[State]:
    (experiment,) = experiments_in(folder / "runs" / "default")
    return [run.state for run in experiment.runs]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def running(folder: Path, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """A sweep of which every run has been saved once."""
    with subprocess.Popen(
        command(*words),
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            until(lambda: len(list(folder.glob("runs/default/*/step*.ckpt"))) >= 4)
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


SWEPT = ("loss=ce,mse", "seed=0,1", "machine.checkpoint_minutes=0.001")


@pytest.mark.parametrize("told", [signal.SIGKILL, signal.SIGINT])
def test_a_group_that_was_ended_in_the_middle_goes_on_by_the_same_command(tmp_path, told):
    with running(tmp_path, *SWEPT, "epochs=40") as process:
        os.killpg(process.pid, told)
        shown, _ = process.communicate(timeout=60)
    saved = {file.parent for file in tmp_path.rglob("step*.ckpt")}
    until(lambda: State.RUNNING not in states(tmp_path))  # the kernel releases their locks late
    stopped = states(tmp_path)
    again = sweep(tmp_path, *SWEPT, "epochs=40")

    if told == signal.SIGINT:
        assert process.returncode == Exit.INTERRUPTED
        assert "4 runs: 4 to go" in shown
        assert "Traceback" not in shown
    assert stopped == [State.STOPPED] * 4
    assert len(saved) == 4
    assert again.returncode == 0, again.stdout + again.stderr
    assert "4 runs: 4 trained" in again.stdout
    assert results(tmp_path).keys() == {"ce 0", "ce 1", "mse 0", "mse 1"}
    assert in_mlflow(tmp_path) == [
        (name, "FINISHED") for name in ("ce-s0", "ce-s1", "mse-s0", "mse-s1")
    ]
