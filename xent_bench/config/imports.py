"""The complaint about a target that cannot be imported, with the user's file and line."""

import linecache
import sysconfig
from pathlib import Path
from traceback import walk_tb

OURS = ("xent_bench", "hydra", "importlib", "inspect", "typing")  # packages that look a target up


def import_complaint(error: BaseException, target: str) -> str:
    """Say what went wrong when a target was imported, and where in the user's code."""
    cause = _cause(error)
    module = target.partition(".")[0]
    if isinstance(cause, ModuleNotFoundError) and cause.name == module:
        is_here = Path(f"{module}.py").is_file() or Path(module).is_dir()
        folder = "." if is_here else "FOLDER"
        return (
            f"there is no module {module}; if it is yours: PYTHONPATH={folder} before the command"
        )
    place = _place(cause)
    if place is None:
        return str(error)
    file, line = place
    reason = cause.msg if isinstance(cause, SyntaxError) else cause
    message = f"{type(cause).__name__}: {reason}".removesuffix(": ")
    return f"{message}, in {file}, line {line}"


def raises_by_itself(error: BaseException) -> bool:
    """Whether a KeyboardInterrupt is raised by a line of the user's code, and is not Ctrl-C."""
    place = _place(error)
    return place is not None and "KeyboardInterrupt" in linecache.getline(*place)


def _cause(error: BaseException) -> BaseException:
    """The error that the module raised, where Hydra has wrapped it."""
    wrapped = isinstance(error, ImportError) and str(error).startswith("Error loading")
    return error.__cause__ if wrapped and error.__cause__ else error


def _place(error: BaseException) -> tuple[str, int] | None:
    """File and line of the user's code that raised an error, or that called what raised it."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 1
    paths = sysconfig.get_paths()
    libraries = (paths["stdlib"], paths["purelib"], paths["platlib"], "<")
    places = [
        (frame.f_code.co_filename, line)
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] not in OURS
        and not frame.f_code.co_filename.startswith("<")
    ]
    of_users = [place for place in places if not place[0].startswith(libraries)]
    return next(reversed(of_users or places), None)
