"""StopIteration from somebody's code: to the loops above it, the ordinary end of an epoch.

A loss that calls `next` on an exhausted iterator raises it. Lightning ends the epoch there without
a word, and the run would finish with fewer steps than it says.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from xent_bench.config.configure import ConfigError
from xent_bench.failures import DataError
from xent_bench.training.code_hash import is_library, is_ours


def exhausted(part: str, stop: StopIteration, when: str) -> ConfigError:
    """The error that names the part of the config, when it was called, and the line it stopped at.

    `part` is a group of the config: loss, model, optimizer, schedule or data.
    """
    return ConfigError(
        part,
        f"StopIteration {when}, at {place_of(stop)}: an iterator had no next item there; "
        "expected one for every call, or itertools.cycle",
    )


@contextmanager
def blaming(part: str, when: str) -> Iterator[None]:
    """Raise `exhausted` in place of a StopIteration within, where no time is to be saved."""
    try:
        yield
    except StopIteration as stop:
        raise exhausted(part, stop, when) from stop
    except RuntimeError as error:  # what a generator of ours makes of it
        if isinstance(error.__cause__, StopIteration):
            raise exhausted(part, error.__cause__, when) from error
        raise


def refuse_lost_steps(taken: int, steps: int, epoch: int) -> None:
    """Raise a DataError if an epoch, counted from 0, ended before all its steps were taken.

    Whatever ended it: its numbers would be those of another training.
    """
    if taken != steps:
        raise DataError(f"epoch {epoch + 1} ended after {taken} of {steps} steps; expected all")


def place_of(error: BaseException) -> str:
    """FILE:LINE of the innermost frame in the user's own code, else of the innermost one."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [
        frame for frame in frames if not (is_library(frame.filename) or is_ours(frame.filename))
    ]
    frame = (theirs or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"
