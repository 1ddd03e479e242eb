"""The store that a run names, and a check that it answers: MLflow itself would try for minutes."""

import os
import sqlite3
import ssl
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from omegaconf import DictConfig

from xent_bench.failures import Unreachable
from xent_bench.runs.files import CONFIG
from xent_bench.runs.reading import read_config

TIMEOUT = 8.0  # seconds for all of it: names, connections, and the answer
DEFAULT_URI = "sqlite:///mlflow.db"


def tracking_uri(configured: str | None) -> str:
    """Return machine.tracking if it is set, else MLFLOW_TRACKING_URI, else a file's address."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def store_of(folder: Path) -> str:
    """Return the address of the store that the `config.yaml` of a run folder names.

    ValueError if that file is not there or cannot be read.
    """
    file = folder / CONFIG
    try:
        return tracking_uri(read_config(file)["machine"]["tracking"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"cannot read {file}: expected machine.tracking in it") from error


def store_if_configured(folder: Path) -> str:
    """The store of a run folder; the default of a run that was killed before it wrote a config."""
    return store_of(folder) if (folder / CONFIG).exists() else tracking_uri(None)


def complaint(uri: str) -> str:
    """Ask the store and return in one line why it does not answer; an empty text if it does."""
    reasons: SimpleQueue[str] = SimpleQueue()
    # in a thread: looking up a server's name may take longer, and cannot be interrupted
    Thread(target=lambda: reasons.put(_failure(uri)), daemon=True).start()
    try:
        reason = reasons.get(timeout=TIMEOUT)
    except Empty:
        reason = f"no answer in {TIMEOUT:.0f} s"
    return one_line(uri, reason) if reason else ""


def refuse_silent_stores(configs: Iterable[DictConfig]) -> None:
    """Ask each store that runs of these configs log to; Unreachable if one does not answer."""
    given = {config.machine.tracking for config in configs if not config.machine.offline}
    for uri in set(map(tracking_uri, given)):
        if problem := complaint(uri):
            raise Unreachable(f"{problem}; machine.offline=true logs to the folders of runs alone")


def one_line(uri: str, reason: object) -> str:
    """Say in one line, without a password, what is wrong with the store."""
    text = str(reason)
    if text.startswith("(raised as a result of"):  # SQLAlchemy says when; the line below says why
        text = text.partition("\n")[2]
    first_line = text.partition("\n")[0] or type(reason).__name__
    no_answer = ("Max retries exceeded", "Connection refused", "timed out")
    if any(words in first_line for words in no_answer):
        first_line = "no answer"
    try:
        password = urlsplit(uri).password
    except ValueError:  # nobody can tell which part is the password
        return f"MLflow at an address that cannot be read: {first_line}"
    text = f"MLflow at {uri}: {first_line}"
    return text.replace(f":{password}@", ":***@") if password else text


def _failure(uri: str) -> str:
    """Return why the store does not answer; empty if it does, or if its kind cannot be asked."""
    ask = _question_for(uri)
    try:
        if ask is not None:
            ask(uri)
    except Exception as error:  # the network's, the database driver's, a broken URI's
        return str(error) or type(error).__name__
    return ""


def _question_for(uri: str) -> Callable[[str], None] | None:
    kind = uri.partition(":")[0].partition("+")[0]
    if kind == "sqlite":
        return _ask_sqlite
    if kind in ("http", "https"):
        return _ask_server
    if kind in ("postgresql", "mysql", "mssql"):
        return _ask_database
    return _ask_mlflow if "://" in uri and kind != "file" else None


def _ask_server(uri: str) -> None:
    """Ask for what a server must look up in its database; any answer will do, MLflow reads it."""
    parts = urlsplit(uri)
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    request = "api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    try:
        with urllib.request.urlopen(f"{place}/{request}", timeout=TIMEOUT + 1):
            return
    except HTTPError as answer:
        answer.close()
    except URLError as error:
        if not isinstance(error.reason, ssl.SSLError):  # MLflow may know the certificate
            raise OSError(error.reason) from error


def _ask_database(uri: str) -> None:
    """Connect once, as MLflow will do up to ten times."""
    import sqlalchemy  # half a second

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect():
        pass


def _ask_mlflow(uri: str) -> None:
    """Check that MLflow knows the scheme of the URI."""
    from mlflow import MlflowClient  # two seconds
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient(uri)
    except MlflowException as error:  # MLflow's own message is a paragraph
        raise ValueError(
            "MLflow knows no such scheme; expected sqlite:///FILE or http://"
        ) from error


def _ask_sqlite(uri: str) -> None:
    """Take the database's lock for writing, if the file exists."""
    file = Path(uri.partition(":///")[2])
    if not file.is_file():
        return
    with closing(sqlite3.connect(file, timeout=TIMEOUT - 1, isolation_level=None)) as base:
        base.execute("BEGIN IMMEDIATE")
        base.execute("ROLLBACK")
