"""Errors that a user's code raises, reported as errors of that code: part, file and line.

A loss, a net, a data function, an optimizer, a schedule or a link may raise anything, at any time.
Without this it would look like a bug of ours. StopIteration needs more care than the others: a loss
that calls `next` on an exhausted iterator raises it, and to Lightning it means the ordinary end of
an epoch, so that the run would finish, without a word, with fewer steps than it reports.
"""

import errno
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from xent_bench.config.code_hash import code_of, file_of, is_library, is_ours
from xent_bench.config.configure import ConfigError
from xent_bench.config.explain import CONFIG_ERRORS
from xent_bench.failures import DataError, Diverged, Unavailable, named
from xent_bench.runs.files import LOG
from xent_bench.runs.refusal import has_begun
from xent_bench.training.advice import ADVICE

# errors of a disk or of the system, which may be gone at the next try
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE}
NOTES = ("in ", "on val", "when it")  # the first words of a note that says when it was
USED = "while this part was used: "  # the first words of a note that names a part
# what else a part may have been given by other parts, and fail on
BEHIND = {"loss": ("model",), "optimizer": ("schedule", "model")}
WITH_A_LINE: tuple[type[Exception], ...] = (
    *CONFIG_ERRORS,
    DataError,
    Diverged,
    Unavailable,
)  # errors that name their cause


@contextmanager
def naming_user_code(targets: Mapping[str, str], folder: Path) -> Iterator[None]:
    """Raise a ConfigError or a DataError in place of an error that a user's code has raised.

    `targets` are the `_target_` of each group. If the run has begun, the traceback is written to
    the log in its folder. Errors that have their own line already pass unchanged, such as a lack
    of memory, and so do errors that neither have a frame of a user's code nor were raised while
    a part of the user's own was used, such as a call of it with an argument that it does not take.
    """
    try:
        yield
    except WITH_A_LINE:
        raise
    except (Exception, SystemExit) as error:  # others end a process, whoever raises them
        frames, used = _users_frames(error), _used_part(error, targets)
        if (
            not (frames or used)
            or named(error) is not error
            or getattr(error, "errno", None) in PASSING
        ):
            raise
        where = ""
        if has_begun(folder):
            with suppress(OSError), _log(folder) as log:
                traceback.print_exception(error, file=log)
                where = f"; the traceback is in {folder / LOG}"
        raise complaint(
            _part(frames, targets) if frames else used, error, _when(error), where
        ) from error


def complaint(part: str, error: BaseException, when: str = "", where: str = "") -> Exception:
    """The error that names a part of the config, what its code raised, when, and the line.

    `part` is a group of the config: loss, model, optimizer, schedule or data.
    """
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    line = f"{text}{' ' * bool(when)}{when}{at_line(error)}{where}"
    if part == "data" and isinstance(error, OSError | ValueError):
        return DataError(f"data: {line}")
    return ConfigError(part, line)


def exhausted(part: str, stop: StopIteration, when: str) -> ConfigError:
    """The error for a StopIteration, which says that an iterator had no next item."""
    return ConfigError(
        part,
        f"StopIteration {when}, at {place_of(stop)}: an iterator had no next item there; "
        "expected one for every call, or itertools.cycle",
    )


@contextmanager
def blaming(part: str, when: str) -> Iterator[None]:
    """Raise `exhausted` in place of a StopIteration from the code within, and note when it was."""
    try:
        yield
    except StopIteration as stop:
        raise exhausted(part, stop, when) from stop
    except RuntimeError as error:  # Python turns a StopIteration within a generator into this
        if isinstance(error.__cause__, StopIteration):
            raise exhausted(part, error.__cause__, when) from error
        add_notes(error, part, when)
        raise
    except (Exception, SystemExit) as error:
        add_notes(error, part, when)
        raise


def add_notes(error: BaseException, part: str, when: str) -> None:
    """Note in an error which part of the config was used as it was raised, and when."""
    error.add_note(when)
    error.add_note(f"{USED}{part}")


def blame_part(error: BaseException, part: str, when: str) -> None:
    """Note in an error which part of the config was used as it was raised, and when.

    An error with its own line is raised in place of one that needs it.
    """
    if isinstance(error, StopIteration):
        raise exhausted(part, error, when) from error
    add_notes(error, part, when)
    if isinstance(error, RuntimeError) and "without overflow" in str(error):
        raise Diverged(f"the optimizer's step became infinite {when}: {ADVICE}") from error


def refuse_lost_steps(taken: int, steps: int, epoch: int) -> None:
    """Raise a DataError if an epoch, counted from 0, ended before all its steps were taken.

    Its numbers would be those of a shorter training.
    """
    if taken != steps:
        raise DataError(f"epoch {epoch + 1} ended after {taken} of {steps} steps; expected all")


def place_of(error: BaseException) -> str:
    """FILE:LINE of the innermost frame in the user's own code, else of the innermost one."""
    frame = (_users_frames(error) or traceback.extract_tb(error.__traceback__))[-1]
    return f"{frame.filename}:{frame.lineno}"


def is_of_user(error: BaseException) -> bool:
    """Whether code that is neither ours nor an installed package's is in the traceback."""
    return bool(_users_frames(error))


def at_line(error: BaseException) -> str:
    """', at FILE:LINE' if a user's code raised the error, else an empty text."""
    return f", at {place_of(error)}" if _users_frames(error) else ""


def _users_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of the traceback that belong neither to an installed package nor to ours."""
    return [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not (is_library(frame.filename) or is_ours(frame.filename))
    ]


def _part(frames: list[traceback.FrameSummary], targets: Mapping[str, str]) -> str:
    """The group whose code raised: by the function's name, else by the modules behind targets."""
    names = {frame.name for frame in frames}
    by_name = [group for group, target in targets.items() if target.rpartition(".")[2] in names]
    if by_name:
        return by_name[0]
    files = {str(Path(frame.filename).resolve()) for frame in frames}
    by_file = [
        group
        for group, target in targets.items()
        if files & {str(file.resolve()) for module in code_of(target) if (file := file_of(module))}
    ]
    return by_file[0] if by_file else next(iter(targets))


def _used_part(error: BaseException, targets: Mapping[str, str]) -> str:
    """The part that was used, or one behind it, if it is not one of ours; else an empty text."""
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith(USED)]
    parts = [note.removeprefix(USED) for note in notes[:1]]
    candidates = [name for part in parts for name in (part, *BEHIND.get(part, ()))]
    return next((name for name in candidates if not targets[name].startswith("xent_bench.")), "")


def _log(folder: Path) -> TextIO:
    # an error's text may hold what UTF-8 cannot
    return (folder / LOG).open("a", encoding="utf-8", errors="backslashreplace")


def _when(error: BaseException) -> str:
    """The note that `blaming` or a training step has added: 'in epoch 2, step 3'."""
    return next((note for note in getattr(error, "__notes__", []) if note.startswith(NOTES)), "")
