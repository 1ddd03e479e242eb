"""Runs that are put away, and brought back: their folders and their runs in MLflow together."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from written_run import write_run

from xent_bench.commands import status
from xent_bench.config.identity import run_folder
from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.files import IMAGES, LOCK, RUN_ID, WEIGHTS
from xent_bench.runs.result import load_runs
from xent_bench.runs.sweep_record import Planned, Sweep, save_sweep
from xent_bench.tracking.compare import differences, read_store
from xent_bench.tracking.reach import tracking_uri
from xent_bench.training.run import run


def typed(*words: object) -> int | str | None:
    """The exit code of xent-status with these words; 0 where it does not exit by itself."""
    try:
        status.main([str(word) for word in words])
    except SystemExit as end:
        return end.code
    return 0


@pytest.fixture
def trained(config, monkeypatch):
    """Two trained runs in a store that MLFLOW_TRACKING_URI names."""
    configs = [config("epochs=1", f"seed={seed}") for seed in (0, 1)]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", configs[0].machine.tracking)
    for wanted in configs:
        run(wanted)
    return [run_folder(wanted) for wanted in configs]


def stages(folders: list[Path]) -> list[str]:
    client = MlflowClient(tracking_uri(None))
    return [client.get_run((f / RUN_ID).read_text()).info.lifecycle_stage for f in folders]


def test_a_removed_run_is_seen_nowhere_and_comes_back_whole(trained, capsys):
    first, second = trained
    before = {file.name: file.read_bytes() for file in first.iterdir() if file.is_file()}
    place = first.parent.parent / ".removed" / first.parent.name / first.name

    assert typed("--remove", first) == 0
    said = capsys.readouterr().out
    assert f"Removed: {first} and its MLflow run\n" in said
    assert f"xent-status --restore {first}\n" in said
    assert not first.exists()
    assert [loaded.folder for loaded in load_runs(first.parent.parent)] == [second]
    assert load_unfinished(first.parent.parent) == []
    assert stages([place, second]) == ["deleted", "active"]
    assert typed(first.parent.parent) == 0
    assert "1 removed: xent-status --restore" in capsys.readouterr().out

    assert typed("--restore", first) == 0
    assert f"Restored: {first} and its MLflow run\n" in capsys.readouterr().out
    assert {f.name: f.read_bytes() for f in first.iterdir() if f.is_file()} == before
    assert stages(trained) == ["active", "active"]
    assert not (first.parent.parent / ".removed").exists()


def test_a_removed_run_is_trained_again_if_it_is_typed_again(config, trained, capsys):
    first, _ = trained
    typed("--remove", first)
    run(config("epochs=1", "seed=0"))

    client = MlflowClient(tracking_uri(None))
    experiment = client.get_experiment_by_name(first.parent.name)
    runs = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
    assert len(runs) == 2
    assert typed("--restore", first) == 3
    assert f"{first} is there again" in capsys.readouterr().err


def test_all_of_several_runs_are_removed_or_none(tmp_path, capsys):
    folders = [write_run(tmp_path / "runs", "ce", seed) for seed in (0, 1)]

    assert typed("--remove", *folders, tmp_path / "runs" / "absent") == 3
    assert "absent: no such folder" in capsys.readouterr().err
    assert all(folder.exists() for folder in folders)
    assert typed("--remove", *folders) == 0
    assert not any(folder.exists() for folder in folders)
    assert typed("--remove", folders[0].parent) == 3
    assert typed("--restore", *folders) == 0
    assert all(folder.exists() for folder in folders)


def test_an_experiment_whose_runs_are_all_removed_says_how_to_bring_them_back(tmp_path, capsys):
    folder = write_run(tmp_path / "runs", "ce", 0)
    typed("--remove", folder)
    capsys.readouterr()

    assert typed(tmp_path / "runs") == 0
    assert "0 runs\n1 removed: xent-status --restore" in capsys.readouterr().out


def test_a_run_that_still_runs_is_not_removed(tmp_path, capsys):
    folder = write_run(tmp_path / "runs", "ce", 0)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert typed("--remove", folder) == 4

    assert "is still running: end it first" in capsys.readouterr().err
    assert folder.exists()


def test_a_run_whose_store_is_away_stays_where_it_is(trained, capsys, monkeypatch):
    first, _ = trained
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/x/m.db")
    config_file = first / "config.yaml"
    shutil.copy(config_file, first / "config.kept")
    config_file.unlink()

    assert typed("--remove", first) == 4
    assert "xent-status: MLflow at sqlite:////proc/x/m.db" in capsys.readouterr().err
    assert first.exists()


def test_a_run_that_is_named_twice_is_removed_and_restored_once(trained, capsys):
    first, _ = trained

    assert typed("--remove", first, f"{first}/", first.parent / "." / first.name) == 0
    assert capsys.readouterr().out.count("Removed: ") == 1
    assert typed("--restore", first, first) == 0
    assert first.is_dir()


def test_a_run_is_removed_from_within_its_folder_and_counted_from_within_its_experiment(
    trained, capsys, monkeypatch
):
    first, second = trained
    monkeypatch.chdir(first)
    assert typed("--remove", ".") == 0
    monkeypatch.chdir(second.parent)
    capsys.readouterr()

    assert typed(".") == 0
    assert "1 run: 1 done\n1 removed" in capsys.readouterr().out


def test_the_place_from_which_a_sweep_is_looked_at_does_not_change_what_it_lacks(
    tmp_path, capsys, monkeypatch
):
    folder = write_run(tmp_path / "runs", "ce", 0)
    place = folder.with_name("focal-s0")
    planned = Planned("focal-s0", "xent-train loss=focal", [], place, "temperature", False, False)
    save_sweep(folder.parent, Sweep(None, "xent-train -m loss=focal", [planned]))
    monkeypatch.chdir(folder.parent)

    assert typed(folder.parent) == typed(".") == 1
    assert capsys.readouterr().out.count("1 done, 1 missing") == 2


def test_a_folder_that_names_the_run_of_another_leaves_that_alone(trained, capsys):
    first, second = trained
    shutil.copy(second / RUN_ID, first / RUN_ID)

    assert typed("--remove", first) == 0
    assert f"Removed: {first}\n" in capsys.readouterr().out
    assert stages([second]) == ["active"]


def test_a_damaged_name_of_an_mlflow_run_is_said_and_nothing_is_moved(trained, capsys):
    first, _ = trained
    (first / RUN_ID).unlink()
    os.mkfifo(first / RUN_ID)

    assert typed("--remove", first) == 3
    assert f"cannot read {first / RUN_ID}, delete it to have xent-sync" in capsys.readouterr().err
    assert first.exists()
    with pytest.raises(ValueError, match=f"cannot read {first / RUN_ID}, delete it"):
        load_runs(first.parent)


def test_a_link_to_a_run_is_not_removed_in_its_place(tmp_path, capsys):
    folder = write_run(tmp_path / "elsewhere", "ce", 0)
    link = tmp_path / "runs" / "default" / "ce"
    link.parent.mkdir(parents=True)
    link.symlink_to(folder)

    assert typed("--remove", link) == 3
    assert "is a link: expected the folder of the run itself" in capsys.readouterr().err
    assert link.is_dir()


def test_a_restored_run_whose_store_is_away_stays_put_away(trained, capsys):
    first, _ = trained
    assert typed("--remove", first) == 0
    store = Path(tracking_uri(None).removeprefix("sqlite:///"))
    moved = store.rename(store.with_suffix(".away"))

    assert typed("--restore", first) == 4
    assert "type this where it was trained" in capsys.readouterr().err
    assert not first.exists()
    assert not store.exists()
    moved.rename(store)
    assert typed("--restore", first) == 0
    assert stages([first]) == ["active"]


def test_a_pipe_among_the_files_of_a_run_does_not_hold_up_its_comparison_with_mlflow(trained):
    first, _ = trained
    uri = tracking_uri(None)
    for name in (IMAGES, WEIGHTS, "pictures/pipe.png"):
        (first / name).unlink(missing_ok=True)
        (first / name).parent.mkdir(exist_ok=True)
        os.mkfifo(first / name)

    assert differences(first, read_store(uri, [first.parent.name]), whole=True) == []
