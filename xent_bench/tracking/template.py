"""A new SQLite store as MLflow makes it, copied where MLflow has made one for this user before.

MLflow makes a store by every migration that it ever had. A template is what they left, packed, in
the user's cache; its name tells the versions of all that decides on the tables. Whatever is wrong
with it, MLflow makes the store, and a new template comes of that.
"""

import gzip
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from xent_bench.data.cache_folder import cache_folder

DECIDING = ("mlflow", "alembic", "sqlalchemy")


def make_store(file: Path) -> None:
    """It appears whole; whoever calls holds its lock."""
    part = _nothing_at(f"{file}.part")
    if _copied(file):
        return
    _open(part)
    with suppress(OSError, RuntimeError, sqlite3.Error):  # no home, full: the next is as slow
        _keep(part)
    part.rename(file)


def _copied(file: Path) -> bool:
    """Whether there was a template to copy; gzip knows a damaged one by its length and its CRC."""
    copy = _nothing_at(f"{file}.copy")  # MLflow remembers addresses: not that of the slow way
    try:
        content = gzip.decompress(_template().read_bytes())
        if not content:  # of which MLflow would make a store without a word
            raise ValueError("an empty template")
        copy.write_bytes(content)
        _open(copy)
    except Exception:  # none there, damaged, refused by MLflow: which then makes the store itself
        copy.unlink(missing_ok=True)
        return False
    copy.rename(file)
    return True


def _nothing_at(place: str) -> Path:
    """What a killed process left there goes, its journal too: SQLite would replay it."""
    Path(f"{place}-journal").unlink(missing_ok=True)
    Path(place).unlink(missing_ok=True)
    return Path(place)


def _open(file: Path) -> None:
    """MLflow makes the tables or checks their version, and adds its experiment Default."""
    MlflowClient(f"sqlite:///{file}").search_experiments(max_results=1)


def _keep(store: Path) -> None:
    """As the template, without the experiment Default: it names the folder that one was in."""
    template = _template()
    template.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=template.parent) as folder:
        copy, packed = Path(folder) / "store", Path(folder) / "packed"
        shutil.copyfile(store, copy)
        with closing(sqlite3.connect(copy)) as tables, tables:
            tables.execute("DELETE FROM experiments")
        packed.write_bytes(gzip.compress(copy.read_bytes()))
        packed.rename(template)


def _template() -> Path:
    """Where it is, or will be."""
    content = sha256(repr([sqlite3.sqlite_version, *map(version, DECIDING)]).encode())
    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
    for script in sorted(migrations.rglob("*.py")):
        content.update(script.read_bytes())
    return cache_folder() / f"mlflow-{version('mlflow')}-{content.hexdigest()[:16]}.db.gz"
