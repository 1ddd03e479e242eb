"""The store that a run names, and a check that it answers: MLflow itself would try for minutes."""

import os
import shlex
from collections.abc import Collection, Iterable
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from urllib.parse import urlsplit

from omegaconf import DictConfig

from xent_bench.addresses import masked, masked_address
from xent_bench.failures import Unavailable, Unreachable
from xent_bench.runs.files import CONFIG, RUN_ID
from xent_bench.runs.reading import read_config
from xent_bench.tracking.named_stores import is_named
from xent_bench.tracking.questions import TIMEOUT, question_for

DEFAULT_URI = "sqlite:///mlflow.db"


def tracking_uri(configured: str | None) -> str:
    """Return machine.tracking if it is set, else MLFLOW_TRACKING_URI, else a file's address."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def store_of(folder: Path) -> str:
    """Return the address of the store that the `config.yaml` of a run folder names.

    Nothing in that file is resolved. Unavailable if it names a store that the user has not: the
    folder may come from somebody else. ValueError if it is not there or cannot be read.
    """
    file = folder / CONFIG
    try:
        named = read_config(file)["machine"]["tracking"]
        if not isinstance(named, str | None):
            raise TypeError(f"expected an address as machine.tracking, got {named!r}"[:200])
    except (KeyError, TypeError) as error:
        raise ValueError(f"cannot read {file}: expected machine.tracking in it") from error
    users = tracking_uri(None)
    if not named or named == users:
        return users
    if not is_named(named) and not _is_gone(named, folder):
        shown = shlex.quote(masked_address(named))
        raise Unavailable(
            f"{file} names the store {shown}, which you have not named here; if it is yours: "
            f"xent-sync {shlex.quote(str(folder))} --store {shown}"
        )
    return named


def _is_gone(uri: str, folder: Path) -> bool:
    """Whether an SQLite file in which the run was begun is not there: then nothing is sent."""
    file = Path(uri.removeprefix("sqlite:///"))
    return (folder / RUN_ID).exists() and uri.startswith("sqlite:///") and not file.exists()


def store_if_configured(folder: Path) -> str:
    """The store of a run folder; the default of a run that was killed before it wrote a config."""
    return store_of(folder) if (folder / CONFIG).exists() else tracking_uri(None)


def store_if_begun_there(folder: Path) -> str:
    """The store as `store_if_configured`; Unavailable if it is a file that is no longer there."""
    uri = store_if_configured(folder)
    if _is_gone(uri, folder):
        raise Unavailable(
            f"no store at {uri}, where it was begun: type this where it was trained, or name the "
            "store by MLFLOW_TRACKING_URI, or xent-sync --store"
        )
    return uri


def complaint(uri: str, experiments: Collection[str] = ()) -> str:
    """Ask the store and return in one line why runs cannot log to it; an empty text if they can.

    `experiments` are the names of those that the runs belong to.
    """
    reasons: SimpleQueue[str] = SimpleQueue()
    # in a thread: looking up a server's name may take longer, and cannot be interrupted
    Thread(target=lambda: reasons.put(_failure(uri, experiments)), daemon=True).start()
    try:
        reason = reasons.get(timeout=TIMEOUT)
    except Empty:
        reason = f"no answer in {TIMEOUT:.0f} s"
    return one_line(uri, reason) if reason else ""


def refuse_silent_stores(configs: Iterable[DictConfig]) -> None:
    """Ask each store that runs of these configs log to; Unreachable if one cannot be used."""
    experiments: dict[str, set[str]] = {}
    for config in configs:
        if not config.machine.offline:
            uri = tracking_uri(config.machine.tracking)
            experiments.setdefault(uri, set()).add(str(config.name))
    for uri, names in experiments.items():
        if problem := complaint(uri, sorted(names)):
            raise Unreachable(f"{problem}; machine.offline=true logs to the folders of runs alone")


def one_line(uri: str, reason: object) -> str:
    """Say in one line, without a secret, what is wrong with the store."""
    text = str(reason)
    if text.startswith("(raised as a result of"):  # SQLAlchemy says when; the line below says why
        text = text.partition("\n")[2]
    first_line = text.partition("\n")[0] or type(reason).__name__
    no_answer = ("Max retries exceeded", "Connection refused", "timed out", "reset by peer")
    if any(words in first_line for words in no_answer):
        first_line = "no answer"
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:  # nobody can tell which part is the password
        return f"MLflow at an address that cannot be read: {masked(first_line)}"
    return f"MLflow at {masked_address(uri)}: {masked(first_line)}"


def _failure(uri: str, experiments: Collection[str]) -> str:
    """Return why the store cannot be used; empty if it can, or if its kind cannot be asked."""
    ask = question_for(uri)
    try:
        if ask is not None:
            ask(uri, experiments)
    except OSError as error:  # the system's text without its number and our temporary file
        return str(error.strerror or error) or type(error).__name__
    except Exception as error:  # the database driver's, a broken URI's
        return str(error) or type(error).__name__
    return ""
