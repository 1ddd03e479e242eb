"""A command that is refused before anything was trained leaves no file and no folder behind."""

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest

from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_folder
from xent_bench.failures import DataError, Unavailable
from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.files import LOCK
from xent_bench.training.run import run

XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))
QUICK = ("data=synthetic", "data.n=200", "model=linear", "epochs=1", "loss=ce", "machine=cpu")

USERS_LOSS = """
from torch.nn import functional as F
from xent_bench.types import Index, Logits, PerExample
from xent_bench.data.image_set import ImageSet
from xent_bench.failures import DataError
print("imported")
def data(**_) -> ImageSet:
    raise DataError("no images today")
def mine(logits: Logits, target: Index, *, wrong: bool = False) -> PerExample:
    if wrong:
        raise KeyError("x")
    return F.cross_entropy(logits, target, reduction="none")
"""


def type_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder.parent / "users_loss.py").write_text(USERS_LOSS)
    path = os.pathsep.join([str(folder.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [XENT_TRAIN, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder to type commands in."""
    made = tmp_path / "place"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["batch_size=100000"], 2, "batch_size: expected at most the"),
        (["data._target_=users_loss.data"], 3, "no images today"),
        (["machine=gpu"], 4, "machine.accelerator=gpu"),
    ],
)
def test_a_refused_command_leaves_nothing(place, monkeypatch, arguments, code, complaint):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = type_command(place, *QUICK, *arguments)

    assert done.returncode == code
    assert complaint in done.stderr
    assert names(place) == []


@pytest.mark.parametrize("root", ["gone.csv", "gone/folder"])
def test_a_sweep_over_images_that_are_not_there_is_refused_once(place, root):
    words = ("data=table", f"data.root={root}", "loss=ce,focal", "seed=0,1")
    done = type_command(place, "-m", *words)

    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == f"xent-train: data.root={root}: no such file or folder"
    assert done.stdout.count("FAILED") == 0
    assert names(place) == []


def test_a_refused_run_of_a_sweep_leaves_nothing_and_the_others_train(place):
    mine = ("loss._target_=users_loss.mine", "+loss.wrong=false,true")
    done = type_command(place, "-m", *QUICK, *mine, "batch_size=10,100000")
    folders = [path.parent for path in place.glob("runs/default/*/*.json")]

    assert done.returncode == 2
    assert done.stdout.count("FAILED: loss: KeyError: 'x'") == 1
    assert done.stdout.count("FAILED: batch_size: expected at most the") == 2
    assert "4 runs: 1 trained, 3 failed" in done.stdout
    assert "xent-status" not in done.stdout  # nobody there could say why
    left = {path.name for path in place.glob("runs/default/*")}
    assert left - {"mlflow", ".together"} == {folders[0].name, ".sweep.json", "multirun.yaml"}


@pytest.mark.parametrize("error", [ConfigError("x", "no"), DataError("no"), Unavailable("no")])
def test_a_refusal_leaves_the_folders_that_were_there_before(config, monkeypatch, error):
    def refuse(*_: object) -> None:
        raise error

    wanted = config()
    folder = run_folder(wanted)
    folder.parent.mkdir(parents=True)
    monkeypatch.setattr("xent_bench.training.build.build_loaders", refuse)
    with pytest.raises(type(error)):
        run(wanted)

    assert names(folder.parent.parent) == [folder.parent.name]


def test_a_store_that_is_lost_at_the_start_leaves_no_run(config, tmp_path):
    wanted = config()
    wanted.machine.tracking = "http://127.0.0.1:9"
    with pytest.raises(Unavailable, match="no answer"):
        run(wanted)

    assert not (tmp_path / "runs").exists()


class PowerCut(BaseException):
    """Ends a run where it stands."""


def test_a_folder_in_which_a_run_was_begun_before_keeps_it_and_the_reason(config, monkeypatch):
    def cut_the_power(*_: object) -> None:
        raise PowerCut

    wanted = config()
    with monkeypatch.context() as patch:
        patch.setattr("xent_bench.training.finish.save", cut_the_power)
        with pytest.raises(PowerCut):
            run(wanted)
    before = names(run_folder(wanted))

    def refuse(*_: object) -> None:
        raise DataError("moved away")

    monkeypatch.setattr("xent_bench.training.build.build_loaders", refuse)
    with pytest.raises(DataError):
        run(wanted)

    assert names(run_folder(wanted)) == before
    (left,) = load_unfinished(run_folder(wanted).parent)
    assert left.reason == "DataError: moved away"


@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError("a bug"), OSError(28, "full")])
def test_what_is_no_mistake_of_the_users_keeps_its_folder(config, monkeypatch, error):
    # raised by no function of this file, which would count as a user's code
    monkeypatch.setattr("xent_bench.training.build.build_loaders", Mock(side_effect=error))
    with pytest.raises((RuntimeError, ZeroDivisionError, OSError)):
        run(config())

    assert len(load_unfinished(run_folder(config()).parent)) == 1


def test_who_waits_for_a_refused_run_makes_its_own_folder(config, monkeypatch, capsys):
    wanted = config()
    folder = run_folder(wanted)
    folder.mkdir(parents=True)
    held = (folder / LOCK).open("w")
    fcntl.flock(held, fcntl.LOCK_EX)

    def be_refused() -> None:
        (folder / LOCK).unlink()
        folder.rmdir()
        held.close()

    monkeypatch.setattr("xent_bench.training.run.LOCK_SECONDS", 0.05)
    timer = threading.Timer(0.5, be_refused)
    timer.start()
    result = run(wanted)

    assert "another process trains it; waiting" in capsys.readouterr().out
    assert result["metrics"]["test/top1"] > 0
    assert (folder / "result.json").exists()


def test_a_sweep_whose_every_run_is_refused_leaves_nothing(place):
    done = type_command(place, "-m", *QUICK, "batch_size=100000", "seed=0,1")

    assert done.returncode == 2
    assert "2 failed" in done.stdout
    assert names(place) == []
