"""Features as they are computed: parts in files of their own, which survive whatever ends it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from xent_bench.failures import Unavailable
from xent_bench.runs.files import DAMAGED
from xent_bench.runs.refusal import missing_folders
from xent_bench.runs.whole_files import write_lasting

PART = 8192  # rows of a part: what is lost, at most, where the process is killed
KEY = "key.json"


class StoredParts:
    """A folder of parts, each a whole .npy file of consecutive rows of one view."""

    def __init__(self, folder: Path, key: str, n: int) -> None:
        """Prepare to read and write parts of the features with this key, n rows of each view."""
        self.folder, self.key, self.n = folder, key, n

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder; parts of other features that lie there are deleted.

        Unavailable if another process holds it.
        """
        new_folders = missing_folders(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise Unavailable(f"another process writes to {self.folder}") from None
        try:
            if _key_of(self.folder) != self.key:
                for file in self.folder.glob("*.npy"):
                    file.unlink()
                write_lasting(self.folder / KEY, json.dumps({"key": self.key}))
            yield
        finally:
            lock.release()
            if not any(self.folder.glob("*.npy")):  # refused before anything was computed
                shutil.rmtree(self.folder, ignore_errors=True)
                for folder in new_folders:
                    with suppress(OSError):  # the finished file lies in it
                        folder.rmdir()

    def rows_done(self, view: str) -> int:
        """How many rows of a view are stored, from the first on."""
        starts = range(0, self.n, PART)
        return next((start for start in starts if not self._file(view, start).exists()), self.n)

    def add(self, view: str, start: int, rows: np.ndarray) -> None:
        """Store the part that begins at row `start`."""
        content = BytesIO()
        np.save(content, rows, allow_pickle=False)
        write_lasting(self._file(view, start), content.getbuffer())

    def read(self, view: str) -> Iterator[np.ndarray]:
        """The parts of a view, in their order."""
        for start in range(0, self.n, PART):
            yield np.load(self._file(view, start), allow_pickle=False)

    def remove(self) -> None:
        """Delete all parts, which have become one file."""
        shutil.rmtree(self.folder)

    def _file(self, view: str, start: int) -> Path:
        return self.folder / f"{view}-{start:09}.npy"


def _key_of(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / KEY).read_text())["key"])
    except DAMAGED:
        return None
