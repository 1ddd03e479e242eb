"""A folder of results that appears whole, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xent_bench.failures import UsageError


def check_free(folder: Path) -> None:
    """Raise a UsageError unless the folder is new or empty: nothing is overwritten."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise UsageError(f"expected a new or empty folder, got {folder}: it is there, and none")
    if any(folder.iterdir()):
        raise UsageError(
            f"expected a new or empty folder, got {folder}: it has files, and none is overwritten"
        )


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield an empty folder whose files are moved to `folder` at the end.

    After an error nothing is left of it, and nothing of the folders above that were made for it.
    """
    check_free(folder)
    target = folder.resolve()
    is_new = not target.exists()
    made = [above for above in target.parents if not above.exists()]
    # within a folder that is there: it may be the working folder, or a disk of its own
    stage = (target.parent if is_new else target) / f".{target.name}.part{os.getpid()}"
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise OSError(error.errno, f"cannot write there: {error.strerror}", str(folder)) from error
    try:
        yield stage
        if is_new:
            stage.rename(target)
        else:
            for file in sorted(stage.iterdir()):
                file.rename(target / file.name)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        for above in made:
            with suppress(OSError):  # another process has put something there
                above.rmdir()
        raise
    if not is_new:
        stage.rmdir()
