"""Disks without room, or that may only be read: one line, exit code 4, and nothing is lost."""

import errno
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from omegaconf import DictConfig

from xent_bench.commands.sync import main as sync
from xent_bench.config.explain import USER_ERRORS, exit_code, explain
from xent_bench.config.identity import run_folder
from xent_bench.runs.curves import load_curves
from xent_bench.runs.files import is_pending
from xent_bench.tracking import mirror
from xent_bench.training import fit
from xent_bench.training.checkpoint_files import LastingCheckpointIO, last_checkpoint
from xent_bench.training.run import run

XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))
# a checkpoint of a megabyte, after the first epoch and after the last at least
LARGE = ("data=synthetic", "data.n=600", "model=mlp", "model.width=256", "epochs=3")
FULL = os.strerror(errno.ENOSPC)
FULL_STORE = "database or disk is full"


class Disk:
    """Of a few kilobytes, in memory."""

    def __init__(self, folder: Path) -> None:
        """Not yet there."""
        self.folder, self.filling = folder, folder / "filling"

    def mount(self, kilobytes: int) -> None:
        """Skip the test where that is not allowed."""
        self.folder.mkdir()
        size = f"size={kilobytes}k"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "none", self.folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"needs to mount a tmpfs: {mounted.stderr.strip()}")

    def change(self, option: str) -> None:
        """Its size, or whether it may be written to."""
        subprocess.run(["mount", "-o", f"remount,{option}", self.folder], check=True)

    def fill(self, but: int = 0) -> None:
        """To the last byte, or leave some kilobytes."""
        room = os.statvfs(self.folder)
        self.filling.write_bytes(bytes(room.f_bavail * room.f_frsize - 1024 * but))

    def empty(self) -> None:
        """There is room again."""
        self.filling.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """To be mounted; it is gone after the test."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("needs root, to mount a tmpfs")
    made = Disk(tmp_path / "disk")
    yield made
    if made.folder.is_mount():
        subprocess.run(["umount", "--lazy", made.folder], check=True)


@pytest.fixture
def wanted(config: Callable[..., DictConfig], disk: Disk) -> DictConfig:
    """A run whose folder is on the disk, and its store elsewhere."""
    made = config(base=LARGE)
    made.machine.runs = str(disk.folder / "runs")
    return made


def outcome(config: DictConfig) -> tuple[int, str]:
    """The exit code, and the line that is said."""
    try:
        run(config)
    except USER_ERRORS as error:
        return exit_code(error), explain(error, [])
    return 0, ""


def ended(config: DictConfig) -> dict[str, Any]:
    """What an undisturbed run and another agree in; and that MLflow has it once."""
    result = run(config)
    curves = {
        (key, step): value
        for step, values in load_curves(run_folder(config)).items()
        for key, value in values.items()
        if not key.startswith("time/")
    }
    client = MlflowClient(config.machine.tracking)
    experiment = client.get_experiment_by_name(config.experiment)
    (stored,) = client.search_runs([experiment.experiment_id])
    points = [
        (point.key, point.step)
        for key in stored.data.metrics
        for point in client.get_metric_history(stored.info.run_id, key)
    ]
    assert len(points) == len(set(points))
    assert curves.keys() <= set(points)
    assert (stored.info.status, stored.data.tags.get("failure")) == ("FINISHED", None)
    assert not is_pending(run_folder(config))
    return {
        "weights": result["tags"]["weights_sha256"],
        "metrics": result["metrics"],
        "curves": curves,
    }


def test_a_disk_that_is_full_at_a_checkpoint_leaves_the_one_before(
    wanted, config, disk, tmp_path, monkeypatch
):
    straight = config(folder="straight", base=LARGE)
    disk.mount(kilobytes=1500)
    wanted.experiment = "default"  # what a command without one has, in a store of its own
    wanted.machine.tracking = f"sqlite:///{tmp_path}/mlflow.db"
    machine = [f"machine.{key}={wanted.machine[key]}" for key in ("runs", "tracking", "threads")]
    words = [*LARGE, "machine=cpu", *machine]
    full = subprocess.run([XENT_TRAIN, *words], capture_output=True, text=True, check=False)
    kept, damaged = last_checkpoint(run_folder(wanted))
    left = list(run_folder(wanted).glob("*.part"))
    disk.change("size=8m")
    save, saved = LastingCheckpointIO.save_checkpoint, []
    monkeypatch.setattr("xent_bench.training.saving.MAX_SHARE", math.inf)  # after every epoch
    monkeypatch.setattr(
        LastingCheckpointIO,
        "save_checkpoint",
        lambda own, content, path, **more: (
            saved.append(content["epoch"]),
            save(own, content, path, **more),
        ),
    )
    found = ended(wanted)
    monkeypatch.undo()

    assert full.returncode == 4
    (line,) = full.stderr.splitlines()
    assert line.startswith(f"xent-train: [Errno {errno.ENOSPC}] {FULL}: '{kept.parent}/step")
    assert (damaged, left) == ([], [])
    assert saved == [1, 2]  # of 0, 1, 2: it went on from the one before
    assert found == ended(straight)


@pytest.mark.parametrize(("room", "file"), [(36, "pictures/"), (154, "result.json")])
def test_a_disk_that_is_full_after_training_is_named_and_the_run_only_scored(
    wanted, config, disk, monkeypatch, room, file
):
    disk.mount(kilobytes=8192)
    finish = fit.finish

    def fill_and_finish(*arguments: Any) -> None:
        disk.fill(but=room)
        finish(*arguments)

    monkeypatch.setattr(fit, "finish", fill_and_finish)
    full = outcome(wanted)
    disk.empty()
    monkeypatch.undo()
    found = ended(wanted)

    assert full[0] == 4
    assert full[1].startswith(f"[Errno {errno.ENOSPC}] {FULL}: '{run_folder(wanted)}/{file}")
    assert not list(run_folder(wanted).rglob("*.part"))
    assert found == ended(config(folder="straight", base=LARGE))


def test_a_disk_that_is_full_at_the_start_is_said_in_a_line(wanted, config, disk):
    disk.mount(kilobytes=8192)
    disk.fill()
    full = outcome(wanted)
    disk.empty()

    file = run_folder(wanted) / "begun.json"
    assert full == (4, f"[Errno {errno.ENOSPC}] {FULL}: '{file}'")
    assert ended(wanted) == ended(config(folder="straight", base=LARGE))


def test_a_disk_that_may_only_be_read_is_said_in_a_line(wanted, disk):
    disk.mount(kilobytes=8192)
    disk.change("ro")
    begin = outcome(wanted)
    disk.change("rw")
    expected = run(wanted)
    (run_folder(wanted) / "result.json").rename(disk.filling)
    disk.change("ro")
    go_on = outcome(wanted)
    disk.change("rw")
    disk.filling.rename(run_folder(wanted) / "result.json")
    disk.change("ro")

    assert run(wanted) == expected
    said = f"[Errno {errno.EROFS}] {os.strerror(errno.EROFS)}: "
    assert begin == (4, f"{said}'{disk.folder}/runs'")
    assert go_on == (4, f"{said}'{run_folder(wanted)}/.lock'")


@pytest.mark.parametrize("there", [True, False])
def test_a_store_without_room_at_the_start_is_said_in_a_line(config, disk, there):
    wanted, other = config(), config(folder="other")
    disk.mount(kilobytes=8192)
    store = f"sqlite:///{disk.folder}/mlflow.db"
    wanted.machine.tracking = other.machine.tracking = store
    if there:
        run(other)
    disk.fill()
    full = outcome(wanted)
    disk.empty()

    way_out = "machine.offline=true logs to the run's folder alone"
    assert full[0] == 4
    assert full[1].startswith(f"MLflow at {store}: ")
    assert full[1].endswith(f"{FULL_STORE}; {way_out}")
    assert ended(wanted)["metrics"] == run(other)["metrics"]


def test_a_store_that_runs_out_of_room_holds_no_run_up(config, disk, monkeypatch, capsys):
    wanted, straight = config(), config(folder="straight")
    disk.mount(kilobytes=8192)
    wanted.machine.tracking = f"sqlite:///{disk.folder}/mlflow.db"
    monkeypatch.setattr(mirror, "SEND_INTERVAL", -1)  # each epoch is sent at once
    following = mirror.Mirror.follow

    def follow(own: mirror.Mirror, curves: Any) -> None:
        if len(curves.steps) == 2:
            disk.fill()
        following(own, curves)

    with monkeypatch.context() as patch:
        patch.setattr(mirror.Mirror, "follow", follow)
        full = outcome(wanted)
    told = capsys.readouterr().err
    pending = is_pending(run_folder(wanted))
    disk.empty()
    monkeypatch.setattr(sys, "argv", ["xent-sync", str(run_folder(wanted))])
    with pytest.raises(SystemExit) as synced:
        sync()

    assert (full, pending, synced.value.code) == ((0, ""), True, 0)
    (line,) = told.splitlines()
    assert f"{FULL_STORE}; kept in {run_folder(wanted)}: xent-sync" in line
    assert ended(wanted) == ended(straight)
