"""What reaches MLflow later: from runs trained offline, beside a dead server, or killed."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from mlflow_server import Server, free_port, serve
from omegaconf import DictConfig

from xent_bench.commands.sync import main
from xent_bench.comparison.compare import compare
from xent_bench.config.identity import run_folder
from xent_bench.evaluation.rescore import rescore
from xent_bench.failures import Unavailable
from xent_bench.report.publish import publish
from xent_bench.runs.begun import Unfinished, save_begun
from xent_bench.runs.curves import SECONDS, load_curves
from xent_bench.runs.files import is_pending
from xent_bench.runs.result import load_run
from xent_bench.tracking import mirror
from xent_bench.tracking.logger import open_run
from xent_bench.tracking.named_stores import note_store
from xent_bench.tracking.own_run import OWNER
from xent_bench.tracking.reach import complaint
from xent_bench.tracking.registry import register
from xent_bench.training.run import run

SYNC = [sys.executable, "-c", "from xent_bench.commands.sync import main; main()"]
BEGUN = """
import sys, time
from pathlib import Path
from filelock import FileLock
from xent_bench.runs.begun import Unfinished
from xent_bench.tracking.logger import open_run
folder = Path(sys.argv[1])
begun = Unfinished("one", "begun", {"loss": "ce"}, "", tags={"key": "k"})
with FileLock(folder / ".lock"), open_run(folder, begun, sys.argv[2]) as run:
    run.log_metrics({"val/nll": 0.5}, step=1)
    run.save()
    print("begun", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests: it takes ten seconds to start. Whoever kills it starts it again."""
    folder = tmp_path_factory.mktemp("server")
    with serve(f"sqlite:///{folder}/mlflow.db", folder) as found:
        yield found


def only_run(uri: str, experiment: str) -> StoredRun:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (one,) = client.search_runs([found.experiment_id])
    return one


def every_point(uri: str, stored: StoredRun) -> list[tuple[str, int, float, int]]:
    """With its time; duplicates too."""
    client = MlflowClient(uri)
    return sorted(
        (point.key, point.step, point.value, point.timestamp)
        for key in stored.data.metrics
        for point in client.get_metric_history(stored.info.run_id, key)
    )


def assert_mlflow_has_all_of(config: DictConfig, uri: str) -> StoredRun:
    """Of the run folder, each point once."""
    folder, stored = run_folder(config), only_run(uri, config.experiment)
    result = load_run(folder / "result.json")
    points = [point[:3] for point in every_point(uri, stored)]
    curves = {
        (key, step, value)
        for step, values in load_curves(folder).items()
        for key, value in values.items()
        if key != "time/written"
    }
    scores = {(k, 0, v) for k, v in result.metrics.items() if not k.startswith("val/")}
    cost = {("time/seconds", 0, result.seconds)}
    cost |= {("time/examples_per_second", 0, float(result.examples_per_second or 0))}
    assert len(points) == len(set(points))
    assert set(points) == curves | scores | cost
    assert stored.info.status == "FINISHED"
    assert stored.data.params == {key: str(value) for key, value in result.params.items()}
    tags = {k: v for k, v in result.tags.items() if k != "mlflow_run_id"}
    assert tags.items() <= stored.data.tags.items()
    assert {"n_test", "command", "mlflow.user", "mlflow.note.content"} <= stored.data.tags.keys()
    kept = [each.path for each in MlflowClient(uri).list_artifacts(stored.info.run_id)]
    assert kept == ["config.yaml", "images.json", "net.json", "pictures", "predictions.npz"]
    assert not is_pending(folder)
    return stored


def test_a_run_that_is_trained_offline_is_sent_later_and_once(config, sync, tmp_path):
    wanted = config("machine.offline=true")
    result = run(wanted, "xent-train")
    folder, store = run_folder(wanted), f"sqlite:///{tmp_path}/later.db"
    before = [path.name for path in tmp_path.iterdir()]
    times = {step: values["time/written"] for step, values in load_curves(folder).items()}
    time.sleep(0.1)
    first = sync(folder.parent, "--store", store)
    stored = assert_mlflow_has_all_of(wanted, store)
    points = every_point(store, stored)
    second = sync(folder.parent, "--store", store)

    assert before == ["runs"]
    assert "mlflow_run_id" not in result["tags"]
    assert first == (0, f"{folder}: sent, FINISHED\n1 run: 1 sent, FINISHED\n")
    assert second == (0, f"Nothing to send: MLflow lacks no run in {folder.parent}\n")
    assert every_point(store, only_run(store, wanted.experiment)) == points
    for _, step, _, when in (point for point in points if point[0] == "val/nll"):
        assert when == round(1000 * times[step])
    ended = int(1000 * (folder / "result.json").stat().st_mtime)
    assert (stored.info.end_time, stored.info.start_time) < (ended + 1, ended)
    known = load_run(folder / "result.json").tags["mlflow_run_id"]
    assert known == stored.info.run_id


def test_an_offline_run_imports_no_mlflow(tmp_path):
    words = ["data=synthetic", "data.n=600", "model=mlp", "model.width=16", "epochs=1"]
    words += ["machine=cpu", "machine.offline=true", "machine.threads=1"]
    code = (
        f"import sys; sys.argv[1:] = {words}\n"
        "from xent_bench.commands.train import main\n"
        "main()\n"
        "assert 'torch' in sys.modules and 'mlflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)

    (mark,) = tmp_path.glob("runs/default/*/not_in_mlflow")
    assert (mark.parent / "result.json").exists()


def test_a_run_that_is_typed_again_without_offline_is_sent_without_training(config):
    done = run(config("machine.offline=true"))
    wanted = config()
    checkpoint = next(run_folder(wanted).glob("*.ckpt")).stat().st_mtime_ns
    again = run(wanted)

    assert again["metrics"] == done["metrics"]
    assert next(run_folder(wanted).glob("*.ckpt")).stat().st_mtime_ns == checkpoint
    assert_mlflow_has_all_of(wanted, wanted.machine.tracking)


def test_what_is_added_to_an_offline_run_is_sent_with_the_rest(config, sync):
    wanted = config("machine.offline=true")
    run(wanted)
    folder = run_folder(wanted)
    rescore(folder, ["vector_scaling"])
    sync(folder, "--store", wanted.machine.tracking)

    stored = assert_mlflow_has_all_of(wanted, wanted.machine.tracking)
    assert "test_vs/nll" in stored.data.metrics


def test_points_of_a_run_whose_server_dies_are_sent_when_it_is_back(
    server, sync, config, capsys, monkeypatch
):
    monkeypatch.setattr(mirror, "SEND_INTERVAL", -1)
    wanted = config()
    wanted.machine.tracking = server.uri
    following = mirror.Mirror.follow

    def follow(self: mirror.Mirror, curves: Any) -> None:
        if len(curves.steps) == 2:
            server.kill()
        following(self, curves)

    with monkeypatch.context() as patch:
        patch.setattr(mirror.Mirror, "follow", follow)
        run(wanted, "xent-train")
    folder = run_folder(wanted)
    told = capsys.readouterr().err
    down = sync(folder)
    again = run(wanted, "xent-train")
    told_again = capsys.readouterr().err
    server.start()
    half = only_run(server.uri, wanted.experiment)
    sent_before = MlflowClient(server.uri).get_metric_history(half.info.run_id, "val/nll")
    up = sync(folder)

    line = f"ce-s0: MLflow at {server.uri}: no answer; kept in {folder}: xent-sync {folder} uploads"
    assert told.splitlines()[-1] == f"{line} it" == told_again.splitlines()[-1]
    assert down == (4, f"1 run: 1 failed\nxent-sync: MLflow at {server.uri}: no answer\n")
    assert half.info.status == "RUNNING"
    assert [point.step for point in sent_before] == [1]
    assert up[0] == 0
    stored = assert_mlflow_has_all_of(wanted, server.uri)
    assert stored.info.run_id == half.info.run_id == again["tags"]["mlflow_run_id"]


def test_a_model_reaches_a_server_once_and_is_registered_there_once(server, sync, config):
    wanted = config("machine.offline=true", "machine.log_model=true")
    run(wanted, "xent-train")
    folder = run_folder(wanted)
    first, second = (register(folder, server.uri, "served") for _ in range(2))
    checked = sync(folder, "--store", server.uri, "--check")

    client, stored = MlflowClient(server.uri), only_run(server.uri, wanted.experiment)
    (model,) = client.search_logged_models([stored.info.experiment_id])
    (version,) = client.search_model_versions("name = 'served'")
    assert (first.version, first.is_new, second.version, second.is_new) == ("1", True, "1", False)
    assert checked == (0, "1 run compared with MLflow, 1 as they should be\n")
    assert (model.status, model.source_run_id) == ("READY", stored.info.run_id)
    assert version.source == model.artifact_location
    assert version.description.startswith("# ce-s0: mlp on synthetic")
    measured = {metric.key: metric.value for metric in model.metrics}
    assert measured["test_ts/nll"] == load_run(folder / "result.json").metrics["test_ts/nll"]
    assert len(every_point(server.uri, stored)) == len(set(every_point(server.uri, stored)))
    place = f"{server.uri}/#/models/served/versions/1?workflowType=machine_learning"
    assert (first.page, first.is_served) == (place, True)


def test_a_frozen_server_holds_a_run_up_for_seconds_and_gets_no_point_twice(
    server, tmp_path, monkeypatch
):
    monkeypatch.setattr(mirror, "SEND_INTERVAL", -1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    begun = Unfinished("one", "frozen", {"loss": "ce"}, "")
    with open_run(tmp_path, begun, server.uri) as tracking:
        with server.frozen():
            start = time.monotonic()
            tracking.log_metrics({"val/nll": 0.5, SECONDS: 1.0}, step=1)
            waited = time.monotonic() - start
        tracking.mirror.interval = -1
        tracking.log_metrics({"val/nll": 0.25, SECONDS: 2.0}, step=2)

    stored = only_run(server.uri, "frozen")
    assert waited < 3
    assert [point[:3] for point in every_point(server.uri, stored)] == [
        *((SECONDS, 1, 1.0), (SECONDS, 2, 2.0), ("val/nll", 1, 0.5), ("val/nll", 2, 0.25)),
    ]


WAY_OUT = "machine.offline=true logs to the run's folder alone"
POSTGRES = "postgresql+psycopg2"


def test_a_scheme_that_mlflow_does_not_know_is_said_at_the_start():
    said = complaint("gopher://host/runs")

    assert said.startswith("MLflow at gopher://host/runs: MLflow knows no such scheme; expected")


def test_an_address_that_cannot_be_read_is_not_shown_for_its_password():
    said = complaint("postgresql://me:se[cret@host/db")

    assert said.startswith("MLflow at an address that cannot be read: ")
    assert "cret" not in said


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("http", "no answer in 8 s"),
        (POSTGRES, "no answer in 8 s"),
        ("sqlite", "database is locked"),
    ],
)
def test_a_store_that_does_not_answer_is_one_line_within_ten_seconds(scheme, reason, tmp_path):
    if scheme == POSTGRES:
        pytest.importorskip("psycopg2")
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        place = f"127.0.0.1:{mute.getsockname()[1]}"
        uri = f"{scheme}://me:secret@{place}/db"
        if scheme == "sqlite":
            uri = f"sqlite:///{tmp_path}/locked.db"
        with closing(sqlite3.connect(tmp_path / "locked.db")) as base:
            base.execute("CREATE TABLE any (thing)")
            base.execute("BEGIN EXCLUSIVE")
            start = time.monotonic()
            with (
                pytest.raises(Unavailable) as refused,
                open_run(tmp_path, Unfinished("one", "mute", {}, ""), uri),
            ):
                pass

    assert time.monotonic() - start < 10
    shown = uri.replace("secret", "***")
    assert str(refused.value) == f"MLflow at {shown}: {reason}; {WAY_OUT}"
    assert not is_pending(tmp_path)


@pytest.mark.parametrize("scheme", ["http", POSTGRES])
def test_a_store_where_nobody_listens_is_said_at_once(tmp_path, scheme):
    if scheme == POSTGRES:
        pytest.importorskip("psycopg2")
    uri = f"{scheme}://127.0.0.1:{free_port()}/db"
    start = time.monotonic()
    with (
        pytest.raises(Unavailable, match=f"^MLflow at {re.escape(uri)}: no answer; {WAY_OUT}$"),
        open_run(tmp_path, Unfinished("one", "nobody", {}, ""), uri),
    ):
        pass

    assert time.monotonic() - start < 3


@pytest.fixture
def begun(tmp_path: Path, store: str) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """A process that has begun the run of tmp_path/run, and logs no more."""
    processes = []
    (tmp_path / "run").mkdir()

    def begin() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", BEGUN, str(tmp_path / "run"), store], stdout=subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def test_a_killed_run_is_marked_and_one_that_runs_is_left_alone(begun, store, sync, tmp_path):
    process, folder = begun(), tmp_path / "run"
    running = sync(tmp_path, "--store", store)
    status = only_run(store, "begun").info.status
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = sync(tmp_path, "--store", store)
    again = sync(tmp_path, "--store", store)

    left = "still running, left alone"
    assert running == (0, f"{folder}: {left}\n1 run: 1 {left}\n")
    assert status == "RUNNING"
    assert killed == (0, f"{folder}: sent, KILLED\n1 run: 1 sent, KILLED\n")
    assert again[1].startswith("Nothing to send")
    stored = only_run(store, "begun")
    assert stored.info.status == "KILLED"
    assert "failure" not in stored.data.tags
    assert [point[:3] for point in every_point(store, stored)] == [("val/nll", 1, 0.5)]


@pytest.mark.parametrize(
    ("reason", "status", "failure"),
    [
        ("killed", "KILLED", None),
        ("interrupted", "KILLED", None),
        ("Preempted: told to end by SIGTERM", "KILLED", None),
        ("Diverged: the loss became nan", "FAILED", "Diverged: the loss became nan"),
    ],
)
def test_a_run_without_a_result_is_sent_from_its_folder_alone(
    sync, store, tmp_path, reason, status, failure
):
    tags = {"key": "k", "n_test": "9"}
    begun = Unfinished("one", tmp_path.name, {"loss": "ce"}, "xent-train", tags=tags)
    with open_run(tmp_path, begun, None, offline=True) as tracking:
        tracking.log_metrics({"val/nll": 0.5}, step=1)
    save_begun(Unfinished("one", tmp_path.name, {"loss": "ce"}, "", reason, tags), tmp_path)
    (tmp_path / OWNER).write_text("of a run that was never made")
    code, _ = sync(tmp_path, "--store", store)

    stored = only_run(store, tmp_path.name)
    assert code == 0
    assert (stored.info.status, stored.info.run_name) == (status, "one")
    assert stored.data.tags.get("failure") == failure
    assert (stored.data.tags["key"], stored.data.params) == ("k", {"loss": "ce"})
    assert [point[:3] for point in every_point(store, stored)] == [("val/nll", 1, 0.5)]


def test_two_that_sync_at_once_send_once(config):
    wanted = config("machine.offline=true")
    run(wanted, "xent-train")
    command = [*SYNC, str(run_folder(wanted)), "--store", wanted.machine.tracking]
    processes = [
        subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) for _ in range(2)
    ]

    assert [process.wait() for process in processes] == [0, 0]
    assert_mlflow_has_all_of(wanted, wanted.machine.tracking)


def test_a_sync_that_is_cut_short_at_any_request_goes_on_to_the_same(config, sync, monkeypatch):
    class PowerCut(BaseException):
        pass

    def cut(*_: object, **__: object) -> None:
        raise PowerCut

    wanted = config("machine.offline=true")
    run(wanted, "xent-train")
    for place in ("create_run", "log_batch", "set_terminated"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, place, cut)
            monkeypatch.setattr(sys, "argv", ["xent-sync", str(run_folder(wanted))])
            with pytest.raises(PowerCut):
                main()
            assert is_pending(run_folder(wanted))
    code, _ = sync(run_folder(wanted))

    assert code == 0
    assert_mlflow_has_all_of(wanted, wanted.machine.tracking)


def test_what_cannot_be_synced_is_one_line_and_a_code(config, sync, tmp_path, monkeypatch):
    wanted = config("machine.offline=true")
    run(wanted)
    folder = run_folder(wanted)
    monkeypatch.chdir(tmp_path)
    nowhere = sync("nowhere")
    (folder / "curves.json").write_text("no curves")
    damaged = sync(folder)
    (folder / "mlflow_run_id").write_text("0" * 32)
    wanted.machine.tracking = f"sqlite:///{tmp_path}/gone.db"
    (folder / "config.yaml").write_text(f"machine:\n  tracking: {wanted.machine.tracking}\n")
    gone = sync(folder)

    assert nowhere == (3, "xent-sync: nowhere: no such folder\n")
    assert damaged[0] == 3
    assert "cannot read" in damaged[1]
    assert gone[0] == 4
    assert f"no store at {wanted.machine.tracking}, where it was begun: type this" in gone[1]
    assert not (tmp_path / "gone.db").exists()


def test_a_store_that_is_gone_does_not_hold_up_the_runs_of_another(config, sync):
    for seed in (0, 1, 2):
        run(wanted := config("machine.offline=true", f"seed={seed}"))
        if seed < 2:
            dead = "machine: {tracking: 'http://127.0.0.1:9'}"
            note_store("http://127.0.0.1:9")  # as if it had been trained with that
            (run_folder(wanted) / "config.yaml").write_text(dead)
    code, said = sync(run_folder(wanted).parent)

    assert code == 4
    assert said.count("http://127.0.0.1:9: no answer") == 1
    assert "3 runs: 2 failed, 1 sent, FINISHED" in said
    assert_mlflow_has_all_of(wanted, wanted.machine.tracking)


def test_a_report_on_offline_runs_is_not_published_and_says_how(config):
    configs = [config("machine.offline=true", f"loss={loss}") for loss in ("ce", "focal")]
    for each in configs:
        run(each)
    runs = [load_run(run_folder(each) / "result.json") for each in configs]
    comparisons = compare(runs)

    MlflowClient(configs[0].machine.tracking).create_experiment(configs[0].experiment)
    with pytest.raises(Unavailable, match="xent-sync sends runs that were trained offline"):
        publish(comparisons, configs[0].machine.tracking, lambda each: each.folder or Path())


def test_a_run_that_is_being_synced_is_not_trained_meanwhile(config):
    wanted = config("machine.offline=true")
    run(wanted)

    with FileLock(run_folder(wanted) / ".lock"):
        assert run(wanted)["metrics"]  # done: nothing to wait for
