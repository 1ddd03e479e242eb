"""MLflow is asked what it has of the run folders, and only the user's own stores are."""

import os
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, ViewType
from mlflow.entities import Run as StoredRun

from xent_bench.failures import Unavailable
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.curves import SECONDS
from xent_bench.runs.files import is_pending
from xent_bench.runs.result import Run, save_run
from xent_bench.tracking.logger import open_run
from xent_bench.tracking.reach import store_of
from xent_bench.tracking.stored_runs import load_stored_runs

CONFIG = "machine:\n  tracking: null\n"
LONG = "n" * 9000  # MLflow cuts such a tag


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with an empty store of the default name, in which everything is typed."""
    folder = tmp_path / "home"
    (folder / "runs" / "exp").mkdir(parents=True)
    shutil.copy(empty_store, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    # MLflow keeps its connection to an address, so that each test needs another
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.setenv("XENT_BENCH_CACHE", str(tmp_path / "cache"))
    return folder


def train(
    folder: Path, seed: int = 0, *, store: str | None = None, offline: bool = False, nll: float = 1
) -> Path:
    """Write what a training writes: its record, curves and result, files and pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    params = {"loss": "ce", "data": "digits", "model": "cnn", "seed": seed}
    tags = {"key": f"key{seed}", "command": LONG, "n_test": "9"}
    begun = Unfinished(f"ce-s{seed}", folder.parent.name, params, LONG, tags=tags)
    (folder / "config.yaml").write_text(CONFIG)
    with open_run(folder, begun, store, offline=offline) as tracking:
        for step in (1, 2, 3):
            tracking.log_metrics({"val/nll": nll / step, SECONDS: 1.0}, step=step)
        (folder / "predictions.npz").write_bytes(b"numbers")
        (folder / "net.json").write_text("{}")
        (folder / "pictures").mkdir(exist_ok=True)
        (folder / "pictures" / "reliability.png").write_bytes(b"picture")
        metrics = {"test/top1": 0.5, "test/nll": nll, "test/rce": float("inf")}
        tags |= {"verdict": "calibrated"}
        save_run(
            Run(f"ce-s{seed}", folder.parent.name, params, metrics, tags, LONG, 9, 1.5), folder
        )
    return folder


def users() -> str:
    return os.environ["MLFLOW_TRACKING_URI"]


def stored(store: str = "", which: int = ViewType.ACTIVE_ONLY) -> list[StoredRun]:
    client = MlflowClient(store or users())
    experiment = client.get_experiment_by_name("exp")
    if experiment is None:
        return []
    return list(client.search_runs([experiment.experiment_id], "", which))


def assert_whole(run: StoredRun, store: str = "") -> None:
    client = MlflowClient(store or users())
    points = client.get_metric_history(run.info.run_id, "val/nll")
    assert run.info.status == "FINISHED"
    assert [point.step for point in points] == [1, 2, 3]
    assert run.data.tags["verdict"] == "calibrated"
    names = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert names == ["config.yaml", "net.json", "pictures", "predictions.npz"]


@pytest.mark.parametrize("words", [(), ("--check",)])
def test_a_store_that_was_lost_gets_all_runs_again(home, sync, empty_store, words, monkeypatch):
    for seed in (0, 1):
        train(home / "runs" / "exp" / str(seed), seed)
    same = sync(*words)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/new.db")
    shutil.copy(empty_store, home / "new.db")
    lost = sync(*words)
    again = sync(*words)

    nothing = "Nothing to send: MLflow lacks no run in runs\n"
    assert (
        same
        == again
        == (0, "2 runs compared with MLflow, 2 as they should be\n" if words else nothing)
    )
    assert lost[0] == 0
    lines = lost[1].splitlines()
    assert lines[0] == "runs/exp/0: missing or different in MLflow: the run; sent, FINISHED"
    assert lines[2] == "2 runs: 2 sent, FINISHED"
    assert len(stored()) == 2
    for run in stored():
        assert_whole(run)


def test_another_store_gets_all_runs_and_the_first_is_not_sent_them_again(home, sync):
    train(home / "runs" / "exp" / "0")
    new = f"sqlite:///{home}/new.db"
    sent = sync("--store", new)
    again = sync("--store", new)
    first = sync()

    assert sent[1].endswith("1 run: 1 sent, FINISHED\n")
    assert again[1].startswith("Nothing to send")
    assert first[1].startswith("Nothing to send")
    for store in (new, users()):
        (run,) = stored(store)
        assert_whole(run, store)
        assert len(stored(store, ViewType.ALL)) == 1


def test_a_run_deleted_in_mlflow_is_sent_again_and_put_away_once_when_it_is_restored(home, sync):
    train(home / "runs" / "exp" / "0")
    (first,) = stored()
    MlflowClient(users()).delete_run(first.info.run_id)
    sent = sync()
    (second,) = stored()
    MlflowClient(users()).restore_run(first.info.run_id)
    sync("--check")
    restored = stored()

    assert "missing or different in MLflow: the run; sent, FINISHED" in sent[1]
    assert second.info.run_id != first.info.run_id
    assert_whole(second)
    assert [run.info.run_id for run in restored] == [second.info.run_id]


def points_deleted(run_id: str, _: Path) -> None:
    with closing(sqlite3.connect("mlflow.db")) as base, base:
        base.execute("DELETE FROM metrics WHERE run_uuid = ? AND step = 2", (run_id,))


def points_added(run_id: str, _: Path) -> None:
    MlflowClient(users()).log_batch(run_id, [Metric("val/nll", 7.0, 5, 2)])


def tag_changed(run_id: str, _: Path) -> None:
    MlflowClient(users()).set_tag(run_id, "verdict", "splendid")


def status_changed(run_id: str, _: Path) -> None:
    MlflowClient(users()).update_run(run_id, status="RUNNING")


def param_changed(run_id: str, _: Path) -> None:
    with closing(sqlite3.connect("mlflow.db")) as base, base:
        base.execute(
            "UPDATE params SET value = 'mse' WHERE run_uuid = ? AND key = 'loss'", [run_id]
        )


def picture_lost(run_id: str, folder: Path) -> None:
    (folder.parent / "mlflow" / run_id / "artifacts" / "pictures" / "reliability.png").unlink()


def predictions_changed(run_id: str, folder: Path) -> None:
    (folder.parent / "mlflow" / run_id / "artifacts" / "predictions.npz").write_bytes(b"nimbers")


@pytest.mark.parametrize(
    ("change", "words", "is_seen_at_once"),
    [
        (points_deleted, "2 of 3 points of val/nll", False),
        (points_added, "4 of 3 points of val/nll", False),
        (tag_changed, "1 tag (verdict)", True),
        (status_changed, "status RUNNING", True),
        (param_changed, "1 param (loss)", True),
        (picture_lost, "pictures/reliability.png", False),
        (predictions_changed, "predictions.npz", False),
    ],
)
def test_what_mlflow_has_otherwise_than_the_folder_is_named_and_mended(
    home, sync, change, words, is_seen_at_once
):
    folder = train(home / "runs" / "exp" / "0")
    change(stored()[0].info.run_id, folder)
    if not is_seen_at_once:
        assert sync()[1].startswith("Nothing to send")
    mended = sync(*([] if is_seen_at_once else ["--check"]))
    again = sync("--check")

    assert mended[0] == 0
    assert words in mended[1]
    assert again == (0, "1 run compared with MLflow, 1 as they should be\n")
    (run,) = stored()
    assert_whole(run)
    assert run.data.params["loss"] == "ce"


def test_a_description_that_somebody_wrote_in_mlflow_is_left(home, sync):
    train(home / "runs" / "exp" / "0")
    MlflowClient(users()).set_tag(stored()[0].info.run_id, "mlflow.note.content", "Mine.")
    sync("--check")

    assert stored()[0].data.tags["mlflow.note.content"] == "Mine."


def test_a_run_whose_folder_was_deleted_and_that_is_trained_again_stands_once_in_mlflow(home, sync):
    folder = train(home / "runs" / "exp" / "0", nll=1)
    (first,) = stored()
    shutil.rmtree(folder)
    train(folder, nll=2)
    (second,) = stored()
    runs, _ = load_stored_runs(users(), None)

    assert second.data.metrics["test/nll"] == 2
    assert_whole(second)
    assert [run.metrics["test/nll"] for run in runs] == [2]
    earlier = MlflowClient(users()).get_run(first.info.run_id)
    assert earlier.info.lifecycle_stage == "deleted"  # the page of deleted runs has it
    assert earlier.data.tags["superseded_by"] == second.info.run_id
    assert sync("--check")[1].endswith("1 run compared with MLflow, 1 as they should be\n")


def test_of_two_folders_with_one_key_the_later_counts_and_neither_sends_itself_again(home, sync):
    train(home / "runs" / "exp" / "0", nll=1)
    train(home / "other" / "exp" / "0", nll=2)
    both = sync("runs", "other"), sync("runs"), sync("other", "--check")

    assert [code for code, _ in both] == [0, 0, 0]
    (run,) = stored()
    assert run.data.metrics["test/nll"] == 2
    assert both[1][1].startswith("Nothing to send")


def test_the_same_run_of_another_user_is_left_alone(home, sync):
    train(home / "runs" / "exp" / "0", nll=1)
    client = MlflowClient(users())
    client.set_tag(stored()[0].info.run_id, "mlflow.user", "somebody_else")
    train(home / "other" / "exp" / "0", nll=2)

    assert len(stored()) == 2
    assert sync("other", "--check")[1].endswith("1 run compared with MLflow, 1 as they should be\n")
    assert len(stored()) == 2


def test_a_run_that_another_machine_trains_is_left_alone_by_one_that_ends(home):
    folder, client = home / "other" / "exp" / "0", MlflowClient(users())
    folder.mkdir(parents=True)
    begun = Unfinished("ce-s0", "exp", {"loss": "ce"}, "", tags={"key": "key0"})
    with open_run(folder, begun, None) as tracking:
        train(home / "runs" / "exp" / "0")
        assert client.get_run(tracking.run_id).info.lifecycle_stage == "active"


def test_what_a_killed_process_left_running_in_a_folder_that_is_gone_is_put_away(home):
    folder = home / "runs" / "exp" / "0"
    train(folder)
    client = MlflowClient(users())
    client.update_run(stored()[0].info.run_id, status="RUNNING")
    shutil.rmtree(folder)
    train(folder)

    (run,) = stored()
    assert_whole(run)


def test_an_answer_that_is_lost_when_a_run_is_created_leaves_one_run(home, monkeypatch):
    for name in ("create_experiment", "create_run", "log_batch", "set_terminated", "delete_run"):
        cut_once(monkeypatch, name)
    folder = train(home / "runs" / "exp" / "0", nll=1)
    shutil.rmtree(folder)
    for name in ("create_run", "log_batch", "set_terminated", "set_tag"):
        cut_once(monkeypatch, name)
    train(folder, nll=2)

    (run,) = stored()
    assert_whole(run)
    assert len(stored(which=ViewType.ALL)) == 2
    assert not is_pending(folder)


def cut_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Do the first request, and lose its answer."""
    request: Callable[..., Any] = getattr(MlflowClient, name)
    cuts: list[str] = []

    def cut(*words: Any, **named: Any) -> Any:
        answer = request(*words, **named)
        if not cuts:
            cuts.append(name)
            raise ConnectionResetError(104, "Connection reset by peer")
        return answer

    monkeypatch.setattr(MlflowClient, name, cut)


@pytest.mark.parametrize("keep_old", [True, False])
def test_a_project_that_is_moved_or_copied_has_its_artifacts_where_its_store_is(
    home, sync, tmp_path, monkeypatch, keep_old, capsys
):
    train(home / "runs" / "exp" / "0")
    new = tmp_path / "new place"
    (shutil.copytree if keep_old else shutil.move)(home, new)
    before = sorted(home.rglob("*"))
    monkeypatch.chdir(new)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{new}/mlflow.db")
    sync("--check")
    capsys.readouterr()
    train(new / "runs" / "exp" / "1", 1)

    assert sorted(home.rglob("*")) == before
    for run in stored():
        assert run.info.artifact_uri.startswith(new.as_uri())
        artifacts = new / "runs" / "exp" / "mlflow" / run.info.run_id / "artifacts"
        assert (artifacts / "pictures" / "reliability.png").is_file()
    assert "moved" not in capsys.readouterr().err  # it is said once


def test_artifacts_that_were_never_beside_the_store_stay_where_they_are(home, sync, tmp_path):
    train(tmp_path / "elsewhere" / "exp" / "0")
    (home / "runs" / "exp" / "mlflow").mkdir()
    sync("--check")

    assert stored()[0].info.artifact_uri.startswith((tmp_path / "elsewhere").as_uri())


@pytest.fixture
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """A place to which nothing may be sent: its address, and what came."""
    came: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    came.append(connection.recv(10_000))

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", came


@pytest.mark.parametrize("way", ["sync", "check", "read"])
@pytest.mark.parametrize("ending", ["/${oc.env:SECRET}", ""])
def test_nothing_is_sent_to_a_host_that_a_file_alone_names(
    home, sync, listener, monkeypatch, way, ending
):
    address, came = listener
    monkeypatch.setenv("SECRET", "hush")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush")
    folder = train(home / "runs" / "exp" / "0", offline=True)
    (folder / "config.yaml").write_text(f"machine:\n  tracking: {address}{ending}\n")
    if way in ("sync", "check"):
        code, said = sync(*(["--check"] if way == "check" else []))
        assert code == 4
        assert "which you have not named here; if it is yours: xent-sync runs/exp/0 --store" in said
        assert "hush" not in said
    else:
        with pytest.raises(Unavailable, match="which you have not named here"):
            store_of(folder)

    assert came == []


def test_a_store_that_the_user_named_when_he_trained_may_be_named_by_the_folder(home, sync):
    folder = train(home / "runs" / "exp" / "0", store=f"sqlite:///{home}/named.db", offline=True)
    (folder / "config.yaml").write_text(f"machine:\n  tracking: sqlite:///{home}/named.db\n")
    sent = sync()

    assert sent == (0, "runs/exp/0: sent, FINISHED\n1 run: 1 sent, FINISHED\n")
    assert len(stored(f"sqlite:///{home}/named.db")) == 1
    file = Path(os.environ["XENT_BENCH_CACHE"]) / "stores.txt"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_link_in_a_foreign_folder_is_not_followed_to_a_file_of_the_user(home, sync, tmp_path):
    (tmp_path / "id_rsa").write_text("hush")
    folder = train(home / "runs" / "exp" / "0", offline=True)
    (folder / "pictures" / "x.png").symlink_to(tmp_path / "id_rsa")
    code, said = sync()

    assert code == 3
    assert "pictures/x.png is a link to another file: it is not sent" in said
