"""What a run leaves in MLflow, however it ends; and a new store, made by MLflow or copied."""

import gzip
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import alembic.command
import pytest
from mlflow import MlflowClient

from xent_bench.curves import load_curves
from xent_bench.failures import Diverged
from xent_bench.tracking import logger as tracking_module
from xent_bench.tracking.logger import open_run
from xent_bench.tracking.template import make_store

KILLED = """
import os, signal, sys
from pathlib import Path
from xent_bench.tracking import logger as tracking
tracking.PATIENCE = float("inf")
with tracking.open_run(
    Path(sys.argv[1]), uri=sys.argv[2], experiment="killed", name="one", params={}, tags={}
) as run:
    for step in (1, 2, 3):
        run.log_metrics({"val/nll": 1 / step, "train/loss": 2 / step}, step=step)
    os.kill(os.getpid(), signal.SIGKILL)
"""
OPENED = """
import sys
from pathlib import Path
from xent_bench.tracking.store import open_store
for folder in sys.argv[1:]:
    client, experiment = open_store(f"sqlite:///{folder}/mlflow.db", "one", Path(folder) / "a")
    client.create_run(experiment)
"""


class PowerCut(BaseException):
    """Ends a process where it stands."""


@pytest.fixture
def opened(store: str, tmp_path: Path) -> Callable[..., Any]:
    return partial(
        open_run, tmp_path, uri=store, experiment=tmp_path.name, name="one", params={"loss": "ce"}
    )


def history(store: str, run_id: str, key: str) -> list[tuple[int, float]]:
    """Every stored point, duplicates too."""
    points = MlflowClient(store).get_metric_history(run_id, key)
    return sorted((point.step, point.value) for point in points)


def cut_short(opened: Callable[..., Any], error: BaseException) -> None:
    with opened(tags={}) as tracking:
        for step in (1, 2, 3):
            tracking.log_metrics({"val/nll": 1 / step}, step=step)
        tracking.set_tags({"word": "said"})
        raise error


@pytest.mark.parametrize(
    ("error", "status"), [(Diverged("nan"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_the_points_of_a_run_that_is_cut_short_are_all_there(
    opened, store, tmp_path, error, status
):
    with pytest.raises(type(error)) as raised:
        cut_short(opened, error)
    run_id = (tmp_path / "mlflow_run_id").read_text()
    found = MlflowClient(store).get_run(run_id)

    assert raised.value is error
    assert history(store, run_id, "val/nll") == [(1, 1), (2, 1 / 2), (3, 1 / 3)]
    assert found.info.status == status
    assert found.data.tags["word"] == "said"
    assert found.data.tags.get("failure") == ("Diverged: nan" if status == "FAILED" else None)


def test_the_points_of_a_killed_process_come_back_and_none_twice(store, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), store]
    killed = subprocess.run(command, check=False)
    run_id = (tmp_path / "mlflow_run_id").read_text()

    assert killed.returncode == -signal.SIGKILL
    assert history(store, run_id, "val/nll") == []  # they waited
    for _ in range(2):
        with open_run(
            tmp_path, uri=store, experiment="killed", name="one", params={}, tags={}
        ) as tracking:
            for step in (3, 4):  # the checkpoint was of epoch 2
                values = {"val/nll": 1 / step, "train/loss": 2 / step}
                tracking.log_metrics(values, step=step)
    assert tracking.run_id == run_id
    for key, first in (("val/nll", 1), ("train/loss", 2)):
        assert history(store, run_id, key) == [(step, first / step) for step in (1, 2, 3, 4)]
    assert list(load_curves(tmp_path)) == [1, 2, 3, 4]


def test_a_curve_begun_in_a_run_that_was_deleted_is_whole_in_the_next(opened, store):
    with opened(tags={}) as first:
        first.log_metrics({"val/nll": 0.5}, step=1)
    MlflowClient(store).delete_run(first.run_id)
    with opened(tags={}) as second:
        second.log_metrics({"val/nll": 0.25}, step=2)

    assert second.run_id != first.run_id
    assert history(store, second.run_id, "val/nll") == [(1, 0.5), (2, 0.25)]


def test_the_curve_of_a_long_run_can_be_seen_before_its_end(opened, store, monkeypatch):
    monkeypatch.setattr(tracking_module, "PATIENCE", -1)
    with opened(tags={}) as tracking:
        for step in (1, 2):
            tracking.log_metrics({"val/nll": 1 / step}, step=step)

            assert len(history(store, tracking.run_id, "val/nll")) == step


def test_a_short_run_is_written_in_two_requests_each_point_with_its_time(
    opened, store, monkeypatch
):
    log_batch, sizes = MlflowClient.log_batch, []

    def watch(self: MlflowClient, run_id: str, metrics=(), params=(), tags=()) -> None:
        sizes.append((len(metrics), len(params), len(tags)))
        log_batch(self, run_id, metrics, params, tags)

    monkeypatch.setattr(tracking_module, "PATIENCE", float("inf"))
    monkeypatch.setattr(MlflowClient, "log_batch", watch)
    clock = iter(range(1000, 2000))
    monkeypatch.setattr("xent_bench.tracking.store.time.time", lambda: next(clock))
    with opened(tags={"key": "k"}) as tracking:
        for step in range(1, 4):
            tracking.log_metrics({"val/nll": 1.0, "val/top1": 0.5}, step=step)
        tracking.log_metrics({"test/nll": 1.0}, step=0)
        tracking.set_tags({"word": "said"})

    assert sizes == [(0, 1, 0), (7, 0, 1)]
    points = MlflowClient(store).get_metric_history(tracking.run_id, "val/nll")
    assert len({point.timestamp for point in points}) == 3
    tags = MlflowClient(store).get_run(tracking.run_id).data.tags
    assert (tags["key"], tags["word"]) == ("k", "said")


def test_a_tag_longer_than_mlflow_allows_is_cut_in_a_new_run_as_in_a_continued_one(opened, store):
    lengths = []
    for _ in range(2):
        with opened(tags={"command": "x" * 9000}) as tracking:
            pass
        found = MlflowClient(store).get_run(tracking.run_id)
        lengths.append(len(found.data.tags["command"]))

    assert lengths == [8000, 8000]


def test_a_process_killed_before_it_noted_its_run_goes_on_with_it(opened, store, monkeypatch):
    def cut_the_power(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut_the_power)
        with pytest.raises(PowerCut), opened(tags={}):
            pass
    with opened(tags={"key": "k"}) as tracking:
        tracking.log_metrics({"val/nll": 1.0}, step=1)

    client = MlflowClient(store)
    experiment = client.get_run(tracking.run_id).info.experiment_id
    (found,) = client.search_runs([experiment])
    assert (found.info.status, found.data.tags["key"]) == ("FINISHED", "k")
    assert history(store, tracking.run_id, "val/nll") == [(1, 1.0)]


def tables(file: Path) -> tuple[list[Any], dict[str, list[tuple[Any, ...]]]]:
    """The words of what made them, and the rows of those that have some."""
    with closing(sqlite3.connect(file)) as base:
        made = base.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        names = [name for kind, name, *_ in made if kind == "table"]
        rows = {name: base.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
    # the migrations name the constraints of a table now in this order, now in that
    words = [(*rest, sorted(re.findall(r"\w+", sql or ""))) for *rest, sql in made]
    return sorted(words), {name: found for name, found in rows.items() if found}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    monkeypatch.setenv("XENT_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def template(own_cache: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the cache; of the store first.db."""
    with monkeypatch.context() as patch:
        patch.setenv("XENT_BENCH_CACHE", str(own_cache))
        make_store(tmp_path / "first.db")
    shutil.copytree(own_cache, cache)
    (found,) = cache.iterdir()
    return found


@pytest.fixture
def forbid_migrations(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called."""

    def refuse(*_: object) -> None:
        raise AssertionError("MLflow migrates")

    return lambda: monkeypatch.setattr(alembic.command, "upgrade", refuse)


@pytest.mark.usefixtures("cache")
def test_a_copied_store_is_what_mlflow_would_have_made(tmp_path, monkeypatch, forbid_migrations):
    made, copied = tmp_path / "made.db", tmp_path / "elsewhere" / "copied.db"
    make_store(made)
    copied.parent.mkdir()
    monkeypatch.chdir(copied.parent)  # where MLflow puts the files of its experiment Default
    forbid_migrations()
    make_store(copied)
    upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{copied}"]

    (schema, rows), (expected_schema, expected_rows) = tables(copied), tables(made)
    assert schema == expected_schema
    assert rows["alembic_version"] == expected_rows["alembic_version"]
    (default,), (expected,) = rows.pop("experiments"), expected_rows.pop("experiments")
    assert (default[:2], default[3], default[6:]) == (expected[:2], expected[3], expected[6:])
    assert default[2] == str(copied.parent / "mlruns" / "0")
    assert default[4] == default[5] > expected[4]
    assert rows == expected_rows
    subprocess.run(upgrade, check=True, capture_output=True)
    assert tables(copied)[0] == schema
    client = MlflowClient(f"sqlite:///{copied}")
    run = client.create_run(client.create_experiment("one"))
    client.log_metric(run.info.run_id, "val/nll", 0.5)
    assert client.get_run(run.info.run_id).data.metrics == {"val/nll": 0.5}
    assert not list(tmp_path.rglob("*.copy*")) + list(tmp_path.rglob("*.part*"))


def cut(packed: bytes) -> bytes:
    return packed[: len(packed) // 2]


def flip(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 1]) + packed[middle + 1 :]


def age(packed: bytes) -> bytes:
    """Whole, but of another version."""
    with closing(sqlite3.connect(":memory:")) as base:
        base.deserialize(gzip.decompress(packed))
        base.execute("UPDATE alembic_version SET version_num = '0a8213491aaa'")
        base.commit()
        return gzip.compress(base.serialize())


@pytest.mark.parametrize("damage", [cut, flip, age])
def test_a_template_that_is_damaged_or_refused_by_mlflow_is_replaced(
    template, tmp_path, damage, forbid_migrations
):
    template.write_bytes(damage(template.read_bytes()))
    make_store(tmp_path / "second.db")

    assert tables(tmp_path / "second.db")[0] == tables(tmp_path / "first.db")[0]
    forbid_migrations()
    make_store(tmp_path / "third.db")
    assert tables(tmp_path / "third.db")[0] == tables(tmp_path / "first.db")[0]
    assert list(template.parent.iterdir()) == [template]


def test_a_store_is_made_where_no_template_can_be_kept(cache, tmp_path):
    cache.write_text("a file where the folder would be")
    make_store(tmp_path / "new.db")

    assert MlflowClient(f"sqlite:///{tmp_path}/new.db").search_experiments()[0].name == "Default"


@pytest.mark.usefixtures("template")
def test_what_a_process_left_that_was_killed_while_it_copied_is_no_store(tmp_path):
    (tmp_path / "new.db.copy").write_bytes(b"half of the tables")
    (tmp_path / "new.db.copy-journal").write_bytes(b"what to undo in it")
    make_store(tmp_path / "new.db")

    assert tables(tmp_path / "new.db")[0] == tables(tmp_path / "first.db")[0]
    assert not list(tmp_path.glob("new.db.copy*"))


def test_processes_that_make_new_stores_at_once_all_find_them_whole(cache, tmp_path):
    for name in ("shared", "left", "right"):
        (tmp_path / name).mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENED, str(tmp_path / "shared"), str(tmp_path / own)]
        )
        for own in ("left", "right")
    ]

    assert [process.wait() for process in processes] == [0, 0]
    for name, runs in (("shared", 2), ("left", 1), ("right", 1)):
        client = MlflowClient(f"sqlite:///{tmp_path}/{name}/mlflow.db")
        experiment = client.get_experiment_by_name("one")
        assert len(client.search_runs([experiment.experiment_id])) == runs
    assert len(list(cache.iterdir())) == 1
