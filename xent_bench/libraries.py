"""Whose code a file is: Python's and its installed packages', this package's, or the user's."""

import sysconfig
from pathlib import Path

OURS = Path(__file__).resolve().parent
STANDARD = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
INSTALLED = {"site-packages", "dist-packages"}


def is_library(file: str) -> bool:
    """Whether it belongs to Python or to a package that was installed; frozen code does too."""
    if file.startswith("<"):
        return True
    path = Path(file).resolve()
    return bool(INSTALLED & {*path.parts}) or bool(STANDARD & {*path.parents})


def is_ours(file: str) -> bool:
    """Whether it belongs to xent_bench, in a checkout or installed."""
    return OURS in Path(file).resolve().parents
