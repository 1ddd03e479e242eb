"""Stores that runs cannot log to: refused before the first run, in one line without a secret."""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from xent_bench.addresses import holds_secret, masked, masked_address
from xent_bench.commands import report, sync, ui
from xent_bench.config.configure import ConfigError, check_top_level
from xent_bench.failures import Unavailable, Unreachable, reason
from xent_bench.tracking.questions import EXPECTED
from xent_bench.tracking.reach import complaint, refuse_silent_stores
from xent_bench.tracking.schema import revisions
from xent_bench.tracking.store import existing_store, open_store

XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))


@pytest.fixture
def copied(empty_store: Path, tmp_path: Path) -> Path:
    """The file of an empty store, to be spoilt."""
    return Path(shutil.copy(empty_store, tmp_path / "spoilt.db"))


def change(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as base:
        for statement in statements:
            base.execute(statement)
        base.commit()


def of_an_older_mlflow(file: Path) -> None:
    change(file, f"UPDATE alembic_version SET version_num = '{sorted(revisions()[1])[0]}'")


def of_a_newer_mlflow(file: Path) -> None:
    change(file, "UPDATE alembic_version SET version_num = 'ffffffffffff'")


def of_a_calendar(file: Path) -> None:
    file.unlink()
    change(file, "CREATE TABLE meetings (day)")


def half_made(file: Path) -> None:
    change(file, "DROP TABLE alembic_version")


def no_database(file: Path) -> None:
    file.write_text("a letter to a friend, which is longer than a header\n" * 100)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (of_an_older_mlflow, "an older MLflow made it; after a backup: mlflow db upgrade sqlite:"),
        (of_a_newer_mlflow, "another MLflow than the 3."),
        (of_a_calendar, "a database of another program, with the tables meetings: name another"),
        (half_made, "a database of another program"),
        (no_database, "file is not a database"),
        (a_folder, "a folder; expected the name of a file in it"),
    ],
)
def test_a_store_that_mlflow_cannot_use_is_refused_before_a_run_and_left_as_it_is(
    copied, config, spoil, words
):
    spoil(copied)
    before = sorted(copied.parent.iterdir()), copied.is_file() and copied.read_bytes()
    wanted = config()
    wanted.machine.tracking = f"sqlite:///{copied}"

    with pytest.raises(Unreachable, match="logs to the folders of runs alone") as refused:
        refuse_silent_stores([wanted])
    assert words in str(refused.value)
    with pytest.raises(Unavailable):  # xent-report and xent-ui, which would add MLflow's tables
        existing_store(f"sqlite:///{copied}")
    assert (sorted(copied.parent.iterdir()), copied.is_file() and copied.read_bytes()) == before


def test_a_store_that_another_program_writes_to_is_not_said_to_be_missing(copied):
    with closing(sqlite3.connect(copied, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(Unavailable, match=r"^MLflow at .*locked; another program writes to it"):
            existing_store(f"sqlite:///{copied}")


def test_the_revision_of_a_new_store_is_that_of_the_installed_mlflow(empty_store):
    with closing(sqlite3.connect(empty_store)) as base:
        stored = base.execute("SELECT version_num FROM alembic_version").fetchall()

    assert stored == [(revisions()[0],)]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sqlite:////proc/x/m.db", "the file cannot be created: No such file or directory"),
        ("sqlite:////dev/null/m.db", "the file cannot be created: Not a directory"),
        ("sqlite:////sys/m.db", "the file cannot be created"),
        (f"sqlite:////tmp/{'n' * 300}/m.db", "File name too long"),
        ("sqlite://", "expected sqlite:///FILE"),
        ("sqlite:///:memory:", "expected sqlite:///FILE"),
        ("sqlite:///m.db?timeout=9", "expected sqlite:///FILE"),
        ("file:///tmp/mlruns", EXPECTED),
        ("./mlruns", EXPECTED),
        ("http://no-such-host.invalid:5000", ""),
        ("http://127.0.0.1:99999", "address that cannot be read"),
    ],
)
def test_a_place_where_no_store_can_be_is_one_line_within_ten_seconds(uri, words):
    start = time.monotonic()
    line = complaint(uri)

    assert time.monotonic() - start < 10
    assert line.startswith("MLflow at ")
    assert words in line
    assert "\n" not in line


def test_a_file_that_can_be_created_and_folders_above_it_are_not_created_by_asking(tmp_path):
    assert complaint(f"sqlite:///{tmp_path}/new/folder/m.db") == ""
    assert list(tmp_path.iterdir()) == []


def test_a_device_or_a_pipe_is_no_place_for_a_store_and_stays_what_it_is(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    assert "a device or a pipe; expected the name of a file" in complaint(f"sqlite:///{pipe}")
    with pytest.raises(ValueError, match="a device or a pipe"):
        open_store(f"sqlite:///{pipe}", "Default", tmp_path)
    assert pipe.is_fifo()


def test_an_empty_file_becomes_a_store(tmp_path):
    (tmp_path / "m.db").touch()

    assert complaint(f"sqlite:///{tmp_path}/m.db") == ""
    client, experiment = open_store(f"sqlite:///{tmp_path}/m.db", "one", tmp_path / "runs")
    assert client.get_experiment(experiment).name == "one"


def test_a_sweep_in_an_experiment_that_was_deleted_is_refused_before_it_trains(copied, tmp_path):
    uri = f"sqlite:///{copied}"
    client = MlflowClient(uri)
    deleted = client.create_experiment("default")
    client.delete_experiment(deleted)
    before = sorted(tmp_path.iterdir())
    words = ["-m", "data=synthetic", "data.n=200", "epochs=1", "seed=0,1", "machine=cpu"]
    refused = subprocess.run(
        [XENT_TRAIN, *words, f"machine.tracking={uri}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 4
    assert "its experiment default was deleted there; another name, or first: mlflow" in (
        refused.stderr
    )
    assert f"restore --experiment-id {deleted}" in refused.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def answering() -> Callable[[bytes], str]:
    """Make a server that answers its first connection with these bytes; its address."""
    servers = []

    def make(answer: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield make
    for server in servers:
        server.close()


DELETED = b'{"experiment": {"experiment_id": "7", "lifecycle_stage": "deleted"}}'


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n<html>log in</html>", "an answer with the status 200, which is"),
        (b"HTTP/1.0 404 Not Found\r\n\r\nnothing here", "an answer with the status 404, which is"),
        (b'HTTP/1.0 503 No\r\n\r\n{"error_code": "X"}', "an answer with the status 503, which is"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + DELETED, "restore --experiment-id 7"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + DELETED.replace(b"deleted", b"active"), ""),
        (b'HTTP/1.0 404 No\r\n\r\n{"error_code": "RESOURCE_DOES_NOT_EXIST"}', ""),
    ],
)
def test_a_server_is_judged_by_its_answer(answering, answer, words):
    line = complaint(answering(answer), ["mine"])

    assert words in line
    assert bool(line) == bool(words)


SECRETS = [
    "http://me:hush@host:5000",
    "http://hush@host:5000",
    "http://hush:@host",
    "https://hush:x-oauth-basic@host",
    "http://me:hu/hush@host",
    "http://me:a@hush@host",
    "http:/me:hush@host",
    "me:hush@host:5000",
    "http://host/?password=hush",
    "http://host/x?anything=hush&y=hush",
    "http://host/#access_token=hush",
    "http://me:a hush@host",
    "postgresql://me:hush@host/db",
    "postgresql+psycopg2://host/db?user=me&password=hush",
    "postgresql://host/db?p%61ssword=hush",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dhush",
    "mysql://host/db;password=hush",
    "HTTP://ME:hush@HOST",
]
PLAIN = [
    "sqlite:///mlflow.db",
    "sqlite:////a/b@c/password=1/m.db",
    "http://host:5000/mlflow",
    "http://[::1]:5000",
    "postgresql://me@host/db?sslmode=require&host=/run/postgresql",
    "databricks://profile",
    "http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=losses",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_a_secret_in_an_address_is_masked_and_refused_in_a_config(uri, config):
    wanted = config()
    wanted.machine.tracking = uri
    with pytest.raises(ConfigError) as refused:
        check_top_level(wanted)

    assert holds_secret(uri)
    assert "hush" not in str(refused.value)
    assert "hush" not in masked_address(uri)
    assert "***" in masked_address(uri)
    assert not holds_secret(masked_address(uri))
    assert "hush" not in reason(RuntimeError(f"API request to {uri.replace(' ', '')}/api failed"))


@pytest.mark.parametrize("uri", PLAIN)
def test_an_address_without_a_secret_is_shown_as_it_is(uri):
    assert masked_address(uri) == masked(uri) == uri
    assert not holds_secret(uri)


@pytest.mark.parametrize("uri", [*SECRETS[:3], *SECRETS[11:14], SECRETS[-1]])
@pytest.mark.parametrize(
    ("main", "words"),
    [
        (ui.main, ["xent-ui"]),
        (ui.main, ["xent-ui", "--store", "URI"]),
        (report.main, ["xent-report", "URI"]),
        (sync.main, ["xent-sync", "--store", "URI"]),
    ],
)
def test_no_command_shows_a_secret_of_the_environment_or_of_its_options(
    main, words, uri, monkeypatch, tmp_path, capfd
):
    # a port where nobody listens, so that nothing is waited for
    uri = re.sub("host(:5000)?", "127.0.0.1:9", uri, flags=re.IGNORECASE)
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setattr(sys, "argv", [uri if word == "URI" else word for word in words])
    with pytest.raises(SystemExit):
        main()
    shown = capfd.readouterr()

    assert "hush" not in shown.out + shown.err
    assert "Traceback" not in shown.err


def test_settings_of_servers_do_not_reach_the_ui_and_its_address_is_on_no_command_line(monkeypatch):
    widening = {
        "MLFLOW_HOST": "0.0.0.0",
        "MLFLOW_GUNICORN_OPTS": "--bind 0.0.0.0:1",
        "MLFLOW_UVICORN_OPTS": "--host 0.0.0.0",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "*",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "GUNICORN_CMD_ARGS": "--bind 0.0.0.0:1",
        "UVICORN_UDS": "/tmp/socket",
        "UVICORN_FD": "3",
        "UVICORN_HOST": "0.0.0.0",
        "FORWARDED_ALLOW_IPS": "*",
        "WEB_CONCURRENCY": "90",
        "FLASK_ENV": "development",
    }
    kept = {"HOME": "/home/me", "MLFLOW_S3_ENDPOINT_URL": "http://s3", "AWS_PROFILE": "mine"}
    for name, value in (widening | kept).items():
        monkeypatch.setenv(name, value)
    environment = ui._environment("postgresql://me:hush@host/db")

    assert not widening.keys() & environment.keys()
    assert kept.items() <= environment.items()
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://me:hush@host/db"
