"""Checks of a store before a run logs to it, one for each kind: an error says why it cannot."""

import base64
import json
import os
import sqlite3
import ssl
import tempfile
import urllib.request
from collections.abc import Callable, Collection
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit

from xent_bench.tracking.schema import check_store, deleted

TIMEOUT = 8.0  # seconds for all of it: names, connections, and the answer
TRIES = 3  # a connection that is reset says nothing of the store
EXPECTED = "expected sqlite:///FILE or http://HOST:PORT"
Question = Callable[[str, Collection[str]], None]  # of the address and the experiments' names


def question_for(uri: str) -> Question | None:
    """The question for a store of this kind; None for one that cannot be asked."""
    kind = uri.partition(":")[0].partition("+")[0].lower()
    if kind == "sqlite":
        return _ask_sqlite
    if kind in ("http", "https"):
        return _ask_server
    if kind in ("postgresql", "mysql", "mssql"):
        return _ask_database
    if kind == "file" or "://" not in uri:
        return None if uri.startswith("databricks") else _refuse_folders
    return _ask_mlflow


def sqlite_file(uri: str) -> Path:
    """The file that an SQLite address names; a ValueError if it names none, or a device or a pipe.

    A new store is moved into its place, and would take that of /dev/null.
    """
    name = uri.partition(":///")[2]
    if not name or name.startswith((":memory:", "file:")) or "?" in name:
        raise ValueError("expected sqlite:///FILE, without options")
    file = Path(name)
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise ValueError("a device or a pipe; expected the name of a file")
    return file


def check_sqlite_store(uri: str, base: sqlite3.Connection, experiments: Collection[str]) -> None:
    """Check that an open SQLite database is MLflow's; ValueError if it is not."""
    tables = base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    names = [name for (name,) in tables]
    check_store(uri, names, lambda sql: base.execute(sql).fetchall(), experiments)


def _ask_sqlite(uri: str, experiments: Collection[str]) -> None:
    """Take the database's lock for writing, and write; or see whether a file can be created."""
    file = sqlite_file(uri)
    if file.is_dir():
        raise ValueError("a folder; expected the name of a file in it")
    if not file.exists():
        place = file.absolute().parent
        while not place.exists():
            place = place.parent
        try:  # a full or read-only disk, no permission
            tempfile.TemporaryDirectory(dir=place).cleanup()
        except OSError as error:
            raise ValueError(f"the file cannot be created: {error.strerror}") from error
        return
    with closing(sqlite3.connect(file, timeout=TIMEOUT - 1, isolation_level=None)) as base:
        base.execute("BEGIN IMMEDIATE")
        try:
            check_sqlite_store(uri, base, experiments)
            base.execute("CREATE TABLE xent_bench_probe (value)")  # the journal needs the folder
        finally:
            if base.in_transaction:
                base.execute("ROLLBACK")


def _ask_database(uri: str, experiments: Collection[str]) -> None:
    """Connect once, as MLflow will do up to ten times, and look at its tables."""
    import sqlalchemy  # half a second

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        tables = set(sqlalchemy.inspect(connection).get_table_names())
        if "alembic_version" in tables:  # one database may serve several programs

            def query(sql: str) -> list[tuple[object, ...]]:
                return [tuple(row) for row in connection.execute(sqlalchemy.text(sql))]

            check_store(uri, tables, query, experiments)


def _ask_server(uri: str, experiments: Collection[str]) -> None:
    """Ask an MLflow server for experiments, which it must look up in its database."""
    for name in experiments or ["Default"]:
        place = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(name, safe='')}"
        _check_answer(uri, name, *_get(uri, place))


def _get(uri: str, place: str) -> tuple[int, bytes]:
    """Status and content of the server's answer; 0 where only MLflow may know the certificate."""
    parts = urlsplit(uri)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    request = urllib.request.Request(address + place)
    if login := _login(uri):
        request.add_unredirected_header("Authorization", login)  # not to where it is sent on
    for number in range(TRIES):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT + 1) as answer:
                return answer.status, answer.read()
        except HTTPError as answer:
            with answer:
                return answer.code, answer.read()
        except (URLError, HTTPException, ConnectionError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(reason, ssl.SSLError):
                return 0, b""
            was_cut = isinstance(reason, ConnectionResetError | HTTPException)
            if not was_cut or number == TRIES - 1:
                raise OSError(reason or type(reason).__name__) from error
    raise AssertionError


def _login(uri: str) -> str:
    """The value of the header with the login that MLflow sends too; empty if there is none."""
    parts = urlsplit(uri)
    name, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), ""
    if name:
        password = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    elif token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return f"Bearer {token}"
    elif parts.username is not None:
        name, password = unquote(parts.username), unquote(parts.password or "")
    else:
        return ""
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def _check_answer(uri: str, experiment: str, status: int, content: bytes) -> None:
    if status == 0:
        return
    if status in (401, 403):  # MLflow may have a login that we cannot know: .netrc, a plugin
        _ask_mlflow_for(uri, experiment)
        return
    try:
        answer = json.loads(content)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    stored = answer.get("experiment")
    if status == 200 and isinstance(stored, dict):
        if stored.get("lifecycle_stage") == "deleted" and experiment != "Default":
            raise ValueError(deleted(experiment, stored.get("experiment_id")))
        return
    if "error_code" not in answer or status >= 500:
        what = f"an answer with the status {status}"
        raise ValueError(f"{what}, which is not MLflow's for a store that works")


def _ask_mlflow_for(uri: str, experiment: str) -> None:
    from mlflow import MlflowClient  # two seconds

    MlflowClient(uri).get_experiment_by_name(experiment)


def _ask_mlflow(uri: str, _: Collection[str]) -> None:
    """Check that MLflow knows the scheme of the URI."""
    from mlflow import MlflowClient  # two seconds
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient(uri)
    except MlflowException as error:  # MLflow's own message is a paragraph
        raise ValueError(
            "MLflow knows no such scheme; expected sqlite:///FILE or http://"
        ) from error


def _refuse_folders(_uri: str, _experiments: Collection[str]) -> None:
    """Refuse a folder as the store, which MLflow 3 does unless it is told otherwise."""
    if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("true", "1"):
        raise ValueError(f"MLflow no longer keeps runs in a folder; {EXPECTED}")
