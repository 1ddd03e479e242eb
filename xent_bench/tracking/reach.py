"""Whether a tracking store answers, found out in seconds: MLflow itself would try for minutes."""

import os
import sqlite3
import ssl
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from omegaconf import OmegaConf

PATIENCE = 8.0  # seconds for all of it: names, connections, and the answer
DEFAULT_URI = "sqlite:///mlflow.db"


def tracking_uri(configured: str | None) -> str:
    """Return machine.tracking if it is set, else MLFLOW_TRACKING_URI, else a file's address."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def store_of(folder: Path) -> str:
    """Return the address of the store that the `config.yaml` of a run folder names.

    ValueError if that file is not there or cannot be read.
    """
    file = folder / "config.yaml"
    try:
        return tracking_uri(OmegaConf.load(file).machine.tracking)
    except Exception as error:  # YAML's, or OmegaConf's about what an edited file holds
        reason = str(error).partition("\n")[0]
        raise ValueError(f"cannot read {file}: {reason}") from error


def complaint(uri: str) -> str:
    """What is wrong with a store that does not answer, in one line; nothing if it does."""
    found: SimpleQueue[str] = SimpleQueue()
    # beside us: whoever looks up the name of a server may wait for longer, and cannot be told
    Thread(target=lambda: found.put(_asked(uri)), daemon=True).start()
    try:
        reason = found.get(timeout=PATIENCE)
    except Empty:
        reason = f"no answer in {PATIENCE:.0f} s"
    return said(uri, reason) if reason else ""


def said(uri: str, reason: object) -> str:
    """What is wrong with the store, in one line, without a password."""
    text = str(reason)
    if text.startswith("(raised as a result of"):  # SQLAlchemy, on when; below it stands why
        text = text.partition("\n")[2]
    first_line = text.partition("\n")[0] or type(reason).__name__
    no_answer = ("Max retries exceeded", "Connection refused", "timed out")
    if any(words in first_line for words in no_answer):
        first_line = "no answer"
    try:
        password = urlsplit(uri).password
    except ValueError:  # where the password is, nobody can tell
        return f"MLflow at an address that cannot be read: {first_line}"
    text = f"MLflow at {uri}: {first_line}"
    return text.replace(f":{password}@", ":***@") if password else text


def _asked(uri: str) -> str:
    """Why it does not answer; nothing if it does, or if what it is cannot be asked."""
    ask = _asking(uri)
    try:
        if ask is not None:
            ask(uri)
    except Exception as error:  # of the network, of the database's driver, of a URI that is none
        return str(error) or type(error).__name__
    return ""


def _asking(uri: str) -> Callable[[str], None] | None:
    kind = uri.partition(":")[0].partition("+")[0]
    if kind == "sqlite":
        return _ask_sqlite
    if kind in ("http", "https"):
        return _ask_server
    if kind in ("postgresql", "mysql", "mssql"):
        return _ask_database
    return _ask_mlflow if "://" in uri and kind != "file" else None


def _ask_server(uri: str) -> None:
    """For what it must ask its database for; any answer is one, and MLflow reads it."""
    parts = urlsplit(uri)
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    request = "api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    try:
        with urllib.request.urlopen(f"{place}/{request}", timeout=PATIENCE + 1):
            return
    except HTTPError as answer:
        answer.close()
    except URLError as error:
        if not isinstance(error.reason, ssl.SSLError):  # MLflow may know the certificate
            raise OSError(error.reason) from error


def _ask_database(uri: str) -> None:
    """Connect as MLflow will, which then tries ten times."""
    import sqlalchemy  # half a second

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect():
        pass


def _ask_mlflow(uri: str) -> None:
    """Whether it knows such a scheme."""
    from mlflow import MlflowClient  # two seconds
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient(uri)
    except MlflowException as error:  # whose own word for it is a paragraph
        raise ValueError(
            "MLflow knows no such scheme; expected sqlite:///FILE or http://"
        ) from error


def _ask_sqlite(uri: str) -> None:
    """Take its lock for writing, where there is a file."""
    file = Path(uri.partition(":///")[2])
    if not file.is_file():
        return
    with closing(sqlite3.connect(file, timeout=PATIENCE - 1, isolation_level=None)) as base:
        base.execute("BEGIN IMMEDIATE")
        base.execute("ROLLBACK")
