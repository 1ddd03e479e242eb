"""What a run leaves in MLflow, however it ends; and a new store, which appears whole."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from xent_bench.failures import DataError, Diverged
from xent_bench.process.signals import Preempted
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.curves import SECONDS, WRITTEN, Curves, load_curves
from xent_bench.runs.files import is_pending
from xent_bench.runs.result import Run, save_run
from xent_bench.tracking import mirror
from xent_bench.tracking.logger import open_run
from xent_bench.tracking.store import open_store

KILLED = """
import os, signal, sys
from pathlib import Path
from xent_bench.runs.begun import Unfinished
from xent_bench.tracking.logger import open_run
from xent_bench.tracking import mirror
mirror.SEND_INTERVAL = float("inf")
with open_run(Path(sys.argv[1]), Unfinished("one", "killed", {}, ""), sys.argv[2]) as run:
    for step in (1, 2, 3):
        run.log_metrics({"val/nll": 1 / step, "train/loss": 2 / step}, step=step)
        if step == 2:
            run.save()
    os.kill(os.getpid(), signal.SIGKILL)
"""
EIGHT = """
import os, sys, traceback
from pathlib import Path
from xent_bench.runs.begun import Unfinished
from xent_bench.tracking.mirror import open_mirror
ready, go = os.pipe()
def begin(number):
    os.close(go)
    os.read(ready, 1)  # until all are there
    for name in ("shared", f"own{number % 2}"):
        folder = Path(sys.argv[1], name)
        own = folder / "runs" / str(number)
        own.mkdir(parents=True)
        open_mirror(f"sqlite:///{folder}/mlflow.db", own, Unfinished("one", "one", {}, "")).send()
children = []
for number in range(8):
    children.append(os.fork())
    if not children[-1]:
        try:
            begin(number)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
os.close(go)
codes = [os.waitpid(child, 0)[1] for child in children]
assert codes == [0] * 8, codes
"""
PARAMS = {"loss": "ce", "data": "digits", "model": "cnn", "seed": 0}


class PowerCut(BaseException):
    """Ends a process where it stands."""


@pytest.fixture
def opened(store: str, tmp_path: Path) -> Callable[..., Any]:
    """A run of the folder tmp_path, with these tags."""

    def make(tags: dict[str, str] | None = None) -> Any:
        begun = Unfinished("one", tmp_path.name, {"loss": "ce"}, "", tags=tags or {})
        return open_run(tmp_path, begun, store)

    return make


def end(folder: Path, scores: dict[str, float] | None = None, **tags: str) -> None:
    """With a result."""
    result = Run("one", folder.name, PARAMS, {"test/top1": 0.5} | (scores or {}), tags, "", 9, 1.5)
    save_run(result, folder)


def history(store: str, run_id: str, key: str) -> list[tuple[int, float]]:
    """Every stored point, duplicates too."""
    points = MlflowClient(store).get_metric_history(run_id, key)
    return sorted((point.step, point.value) for point in points)


def cut_short(opened: Callable[..., Any], error: BaseException) -> None:
    with opened({"word": "said"}) as tracking:
        for step in (1, 2, 3):
            tracking.log_metrics({"val/nll": 1 / step}, step=step)
        raise error


@pytest.mark.parametrize(
    ("error", "status", "failure"),
    [
        (Diverged("nan"), "FAILED", "Diverged: nan"),
        (KeyboardInterrupt(), "KILLED", None),
        (Preempted(signal.SIGTERM), "KILLED", None),
        (RuntimeError("out of memory"), "FAILED", "OutOfMemory: not enough memory: out of memory"),
    ],
)
def test_the_points_of_a_run_that_is_cut_short_are_all_there(
    opened, store, tmp_path, error, status, failure
):
    with pytest.raises(type(error)) as raised:
        cut_short(opened, error)
    run_id = (tmp_path / "mlflow_run_id").read_text()
    found = MlflowClient(store).get_run(run_id)

    assert raised.value is error
    assert history(store, run_id, "val/nll") == [(1, 1), (2, 1 / 2), (3, 1 / 3)]
    assert found.info.status == status
    assert found.data.tags["word"] == "said"
    assert found.data.tags.get("failure") == failure
    assert not is_pending(tmp_path)


def test_the_points_of_a_killed_process_come_back_and_none_twice(store, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), store]
    killed = subprocess.run(command, check=False)
    run_id = (tmp_path / "mlflow_run_id").read_text()

    assert killed.returncode == -signal.SIGKILL
    assert is_pending(tmp_path)
    assert history(store, run_id, "val/nll") == []  # they waited
    for _ in range(2):
        with open_run(tmp_path, Unfinished("one", "killed", {}, ""), store) as tracking:
            for step in (3, 4):  # the checkpoint was of epoch 2
                values = {"val/nll": 1 / step, "train/loss": 2 / step}
                tracking.log_metrics(values, step=step)
    assert tracking.run_id == run_id
    for key, first in (("val/nll", 1), ("train/loss", 2)):
        assert history(store, run_id, key) == [(step, first / step) for step in (1, 2, 3, 4)]
    assert list(load_curves(tmp_path)) == [1, 2, 3, 4]


def test_an_epoch_that_is_repeated_keeps_its_times_and_other_numbers_replace_it(tmp_path):
    curves = Curves(tmp_path)
    curves.add(1, {"val/nll": 0.5, SECONDS: 3.0})
    curves.save()
    first = load_curves(tmp_path)
    curves.add(1, {"val/nll": 0.5, SECONDS: 4.0})
    curves.save()
    second = load_curves(tmp_path)
    curves.add(1, {"val/nll": 0.25, SECONDS: 4.0})
    curves.save()

    assert second == first
    assert load_curves(tmp_path)[1]["val/nll"] == 0.25


def test_curves_without_the_times_of_their_steps_are_refused(tmp_path):
    (tmp_path / "curves.json").write_text('{"1": {"val/nll": 0.5}}')

    with pytest.raises(DataError, match="delete it to go on without: expected time/written"):
        Curves(tmp_path)


def test_a_curve_begun_in_a_run_that_was_deleted_is_whole_in_the_next(opened, store):
    with opened() as first:
        first.log_metrics({"val/nll": 0.5}, step=1)
    MlflowClient(store).delete_run(first.run_id)
    with opened() as second:
        second.log_metrics({"val/nll": 0.25}, step=2)

    assert second.run_id != first.run_id
    assert history(store, second.run_id, "val/nll") == [(1, 0.5), (2, 0.25)]


def test_the_curve_of_a_long_run_can_be_seen_before_its_end(opened, store, monkeypatch):
    monkeypatch.setattr(mirror, "SEND_INTERVAL", -1)
    with opened() as tracking:
        for step in (1, 2):
            tracking.log_metrics({"val/nll": 1 / step}, step=step)

            assert len(history(store, tracking.run_id, "val/nll")) == step


def test_several_runs_of_a_process_send_less_often_than_one_alone(store, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "SEND_INTERVAL", -1)
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with (
        open_run(folders[0], Unfinished("first", "one", {}, ""), store) as first,
        open_run(folders[1], Unfinished("second", "one", {}, ""), store) as second,
    ):
        for step in (1, 2):
            first.log_metrics({"val/nll": 1 / step}, step=step)

        assert len(history(store, first.run_id, "val/nll")) == 1
        assert first.mirror.interval > 0
        assert history(store, second.run_id, "val/nll") == []
    assert len(history(store, first.run_id, "val/nll")) == 2


def test_a_server_that_does_not_answer_one_run_is_not_asked_at_once_by_the_others(
    store, tmp_path, monkeypatch
):
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with (
        open_run(folders[0], Unfinished("first", "one", {}, ""), store) as first,
        open_run(folders[1], Unfinished("second", "one", {}, ""), store) as second,
    ):
        first.mirror.interval = second.mirror.interval = 0.001
        time.sleep(0.002)
        first.curves.add(1, {"val/nll": 0.5})
        with monkeypatch.context() as cut:
            cut.setattr(MlflowClient, "log_batch", refuse)
            first.mirror.follow(first.curves)

        assert second.mirror.interval == first.mirror.interval == 0.002
        assert second.mirror.last_try == pytest.approx(first.mirror.last_try, abs=0.1)
    assert len(history(store, first.run_id, "val/nll")) == 1


def refuse(*_: object, **__: object) -> None:
    raise OSError("no answer")


def test_a_short_run_is_written_in_two_requests_each_point_with_its_time(
    opened, store, monkeypatch, tmp_path
):
    log_batch, sizes = MlflowClient.log_batch, []

    def watch(self: MlflowClient, run_id: str, metrics=(), params=(), tags=()) -> None:
        sizes.append((len(metrics), len(params), len(tags)))
        log_batch(self, run_id, metrics, params, tags)

    monkeypatch.setattr(mirror, "SEND_INTERVAL", float("inf"))
    monkeypatch.setattr(MlflowClient, "log_batch", watch)
    clock = iter(range(1000, 2000))
    monkeypatch.setattr("xent_bench.runs.curves.time.time", lambda: next(clock))
    with opened({"key": "k"}) as tracking:
        for step in range(1, 4):
            tracking.log_metrics({"val/nll": 1.0, "val/top1": 0.5}, step=step)
        end(tmp_path, word="said")

    assert sizes == [(0, 1, 0), (8, 0, 1)]
    times = [values[WRITTEN] for values in load_curves(tmp_path).values()]
    points = MlflowClient(store).get_metric_history(tracking.run_id, "val/nll")
    assert sorted(point.timestamp for point in points) == [1000 * each for each in times]
    assert len(set(times)) == 3
    tags = MlflowClient(store).get_run(tracking.run_id).data.tags
    assert (tags["key"], tags["word"]) == ("k", "said")


def test_finished_is_said_last_and_the_folder_has_its_result_before(opened, tmp_path, monkeypatch):
    told = []
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "predictions.npz").write_text("numbers")

    def watch(owner: type, name: str) -> None:
        true = getattr(owner, name)

        def tell(*words: Any, **named: Any) -> Any:
            told.append((name, (tmp_path / "result.json").exists(), is_pending(tmp_path)))
            return true(*words, **named)

        monkeypatch.setattr(owner, name, tell)

    for name in ("create_run", "log_batch", "set_terminated"):
        watch(MlflowClient, name)
    watch(LocalArtifactRepository, "log_artifact")
    with opened():
        end(tmp_path)

    begin = [(name, False, True) for name in ("create_run", "log_batch", "log_artifact")]
    later = [(name, True, True) for name in ("log_batch", "log_artifact", "set_terminated")]
    assert told == begin + later
    assert not is_pending(tmp_path)


def test_a_tag_longer_than_mlflow_allows_is_cut_in_a_new_run_as_in_a_continued_one(opened, store):
    lengths = []
    for _ in range(2):
        with opened({"command": "x" * 9000}) as tracking:
            pass
        found = MlflowClient(store).get_run(tracking.run_id)
        lengths.append(len(found.data.tags["command"]))

    assert lengths == [8000, 8000]


def test_a_process_killed_before_it_noted_its_run_goes_on_with_it_on_any_machine(
    opened, store, monkeypatch, tmp_path
):
    create_run = MlflowClient.create_run

    def cut_the_power(*words: Any, **named: Any) -> None:
        create_run(*words, **named)
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", cut_the_power)
        with pytest.raises(PowerCut), opened():
            pass
    monkeypatch.setattr("platform.node", lambda: "another")
    with opened({"key": "k"}) as tracking:
        tracking.log_metrics({"val/nll": 1.0}, step=1)
        end(tmp_path)

    client = MlflowClient(store)
    experiment = client.get_run(tracking.run_id).info.experiment_id
    (found,) = client.search_runs([experiment])
    assert (found.info.status, found.data.tags["key"]) == ("FINISHED", "k")
    assert history(store, tracking.run_id, "val/nll") == [(1, 1.0)]


def test_what_a_process_left_that_was_killed_while_it_made_a_store_is_no_store(tmp_path):
    (tmp_path / "new.db.part").write_bytes(b"half of the tables")
    (tmp_path / "new.db.part-journal").write_bytes(b"what to undo in it")
    client, experiment = open_store(f"sqlite:///{tmp_path}/new.db", "one", tmp_path / "runs")

    assert client.get_experiment(experiment).name == "one"
    assert not list(tmp_path.glob("new.db.part*"))


def test_eight_processes_that_begin_at_once_all_find_their_new_stores_whole(tmp_path):
    subprocess.run([sys.executable, "-c", EIGHT, str(tmp_path)], check=True)

    for name, runs in (("shared", 8), ("own0", 4), ("own1", 4)):
        client = MlflowClient(f"sqlite:///{tmp_path}/{name}/mlflow.db")
        experiment = client.get_experiment_by_name("one")
        assert len(client.search_runs([experiment.experiment_id])) == runs
