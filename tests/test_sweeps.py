"""A sweep on one machine: each run in a process of its own, none of which harms another."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL

from xent_bench.config.identity import run_folder
from xent_bench.sweeps.processes import slots
from xent_bench.training.run import run

XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))
CHEAP = (*SMALL, "machine=cpu", "machine.threads=1")
LINEAR = ("data=synthetic", "data.n=600", "model=linear", "machine=cpu", "machine.threads=1")
# each run in a process of its own: tests/test_groups_of_runs.py has the same of groups
ENDLESS = (*LINEAR, "model._target_=users.net", "epochs=100000", "machine.together=1")

USERS_NET = """
import os, signal, sys
from pathlib import Path
from torch import nn

def net(shape, classes, *, end: str = "") -> nn.Module:
    first = not Path(end).exists()
    Path(end or "begun").touch()
    if end == "killed" or (end == "killed_once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "out_of_memory_once" and first:
        raise RuntimeError("CUDA out of memory. Tried to allocate 1 PiB")
    if end == "left":
        os._exit(3)
    if end == "exited":
        sys.exit(7)
    if end == "mistaken":
        raise ZeroDivisionError("a mistake")
    linear = nn.Linear(shape[0] * shape[1] * shape[2], classes)
    if end == "diverged":
        nn.init.constant_(linear.weight, 1e38)
    return nn.Sequential(nn.Flatten(), linear, *[Late()] * (end == "late"))

class Late(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += self.training
        if self.calls > 8:
            print("some words")
            raise ZeroDivisionError("a mistake")
        return x
"""


def environment(folder: Path) -> dict[str, str]:
    """With a module of the user's in the folder."""
    (folder / "users.py").write_text(USERS_NET)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path}


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [XENT_TRAIN, "-m", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def results(folder: Path) -> dict[str, Any]:
    """Of the finished runs, by name of their folder."""
    files = folder.glob("runs/default/*/result.json")
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def processes_in(folder: Path) -> list[int]:
    """Which work in the folder."""
    found = []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdecimal() and Path(os.readlink(each / "cwd")) == folder:
                found.append(int(each.name))
        except OSError:  # it has ended, or is not ours
            pass
    return found


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def hurt(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A sweep whose runs end in many ways, two at a time."""
    folder = tmp_path_factory.mktemp("hurt")
    ends = "none,killed,killed_once,out_of_memory_once,left,exited,diverged,mistaken,late"
    arguments = ("model._target_=users.net", f"+model.end={ends}", "epochs=2")
    return folder, sweep(folder, *LINEAR, *arguments, "machine.jobs=2", "machine.retries=1")


def line_of(shown: str, end: str, word: str) -> str:
    """The line about the run that ends so, with the word in it."""
    (line,) = [line for line in shown.splitlines() if f"model.end={end} " in line and word in line]
    return line


def test_the_runs_beside_one_that_dies_are_finished(hurt):
    folder, done = hurt
    finished = {each["params"]["model.end"] for each in results(folder).values()}

    assert finished == {"none", "killed_once", "out_of_memory_once"}
    assert "9 runs: 3 trained, 6 failed" in done.stdout
    assert done.returncode in (1, 4)  # of the first that failed
    assert done.stderr == ""


def test_a_killed_run_and_one_without_memory_are_tried_again_with_the_reason(hurt):
    _, done = hurt

    for end, reason in (
        ("killed_once", "killed by SIGKILL (out of memory?)"),
        ("killed", "killed by SIGKILL (out of memory?)"),
        ("out_of_memory_once", "not enough memory: CUDA out of memory"),
    ):
        line = line_of(done.stdout, end, "tried again")
        assert reason in line
        assert "tried again in 1 s (1 of 1)" in line
    assert "FAILED: killed by SIGKILL" in line_of(done.stdout, "killed", "FAILED")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("left", "its process left with exit code 3 and no result"),
        ("exited", "model: SystemExit: 7 when it was built, at "),
        ("diverged", "the loss became nan in epoch 1, step 1"),
        ("mistaken", "model: ZeroDivisionError: a mistake when it was built, at "),
        ("late", "model: ZeroDivisionError: a mistake in epoch 2, step 4, at "),
    ],
)
def test_a_run_that_ends_itself_is_not_tried_again(hurt, end, reason):
    _, done = hurt

    assert reason in line_of(done.stdout, end, "FAILED")
    # in lines of runs: where it takes long, a line on the sweep names what is running too
    assert len(re.findall(rf"^\[.*model\.end={end} ", done.stdout, re.MULTILINE)) == 1


def test_what_a_failed_run_printed_is_kept_in_its_folder(hurt):
    folder, done = hurt
    line = line_of(done.stdout, "late", "FAILED")
    log = line.partition("the traceback is in ")[2].removesuffix(" (on the command line)")

    for words in ("some words", "Traceback", "ZeroDivisionError: a mistake"):
        assert words in (folder / log).read_text()
    assert "Traceback" not in done.stdout
    assert not [f for f in folder.glob("runs/default/*/log.txt") if not f.stat().st_size]


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A sweep, two runs at a time; then with one more seed, one run at a time."""
    folder = tmp_path_factory.mktemp("grown")
    first = sweep(folder, *CHEAP, "seed=0,1", "machine.jobs=2")
    assert first.returncode == 0, first.stderr
    for result in folder.rglob("result.json"):
        result.with_name("seen").touch()
    return folder, sweep(folder, *CHEAP, "seed=0,1,2")


def test_runs_beside_others_have_the_numbers_of_a_run_alone(grown, config):
    found = results(grown[0])
    assert len(found) == 3
    for seed in (0, 1, 2):
        wanted = config(f"seed={seed}")
        alone, beside = run(wanted), found[run_folder(wanted).name]

        assert beside["metrics"] == alone["metrics"]
        assert beside["tags"]["weights_sha256"] == alone["tags"]["weights_sha256"]


def test_as_many_runs_train_at_a_time_as_there_are_jobs(grown):
    together = [file.parent for file in grown[0].glob("runs/default/*/seen")]
    begun = [(folder / "config.yaml").stat().st_mtime for folder in together]
    ended = [(folder / "result.json").stat().st_mtime for folder in together]

    assert len(together) == 2
    assert max(begun) < min(ended)


def test_retyping_a_sweep_starts_what_is_missing_alone(grown):
    folder, again = grown

    assert "3 runs, 1 to train" in again.stdout
    assert "3 runs: 1 trained, 2 done before" in again.stdout
    for seen in folder.rglob("seen"):
        assert seen.with_name("result.json").stat().st_mtime < seen.stat().st_mtime


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A sweep of three endless runs, two of which have begun to train."""
    process = subprocess.Popen(
        [XENT_TRAIN, "-m", *ENDLESS, "seed=0,1,2", "machine.jobs=2", *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until(lambda: len(list(folder.rglob("progress.json"))) == 2 or process.poll() is not None)
        yield process
    finally:
        for each in processes_in(folder):
            os.kill(each, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(("told", "code"), [(signal.SIGINT, 130), (signal.SIGUSR1, 75)])
def test_a_parent_that_is_told_to_end_tells_its_runs_and_starts_no_other(tmp_path, told, code):
    with running(tmp_path) as process:
        process.send_signal(told)
        said, _ = process.communicate(timeout=30)

        assert process.returncode == code
        assert "3 runs: 3 to go" in said
        assert "The same command goes on from here." in said
        assert "Traceback" not in said
        assert len(list(tmp_path.rglob("begun.json"))) == 2
        until(lambda: not processes_in(tmp_path), seconds=5)


def test_a_sweep_whose_terminal_is_closed_is_saved_and_ends(tmp_path):
    terminal, inside = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, XENT_TRAIN, "-m", *ENDLESS, "seed=0,1"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    ) as process:
        os.close(inside)
        until(lambda: list(tmp_path.rglob("progress.json")))
        os.close(terminal)  # as where ssh ends: SIGHUP to all, and nothing can be printed

        assert process.wait(30) == 75
    until(lambda: not processes_in(tmp_path), seconds=5)
    (begun,) = tmp_path.rglob("begun.json")
    assert "told to end by SIG" in begun.read_text()
    assert list(begun.parent.glob("*.ckpt"))


ON_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def test_a_run_whose_output_nobody_can_receive_is_finished(tmp_path):
    with subprocess.Popen(
        [XENT_TRAIN, *LINEAR, "epochs=2"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        process.stderr.close()

        assert process.wait(60) == 0
    assert results(tmp_path)


def test_the_runs_of_a_parent_that_was_killed_end_by_themselves(tmp_path):
    with running(tmp_path) as process:
        process.kill()
        process.wait()

        until(lambda: not processes_in(tmp_path), seconds=20)
        assert not list(tmp_path.rglob("result.json"))


@pytest.mark.parametrize(
    ("jobs", "devices", "gpus", "visible", "expected"),
    [
        (2, 1, 0, None, [None, None]),
        (2, 1, 2, None, ["0", "1"]),
        (2, 2, 4, None, ["0,1", "2,3"]),
        (2, 1, 2, "3,5", ["3", "5"]),
        (2, 1, 1, "GPU-8a", ["GPU-8a", "GPU-8a"]),
        (1, 2, 1, None, [None]),
    ],
)
def test_each_job_has_gpus_of_its_own(monkeypatch, jobs, devices, gpus, visible, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert slots(jobs, devices, gpus) == expected


LISTENING = """
import os, tempfile
from multiprocessing.connection import Listener
from xent_bench.process.sockets import give_sockets_room
give_sockets_room()
address = Listener(family="AF_UNIX").address
print(os.path.dirname(os.path.dirname(address)), tempfile.gettempdir() == os.environ["TMPDIR"])
"""


@pytest.mark.parametrize("length", [10, 150])
def test_a_temporary_folder_of_any_length_leaves_room_for_sockets(length):
    folder = Path("/tmp", f"xent-{os.getpid()}-{'x' * length}")
    folder.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-c", LISTENING],
            env=os.environ | {"TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )

        assert done.stdout.split() == [str(folder) if length < 50 else "/tmp", "True"]
        assert not list(folder.iterdir())
    finally:
        folder.rmdir()
