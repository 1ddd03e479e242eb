"""StopIteration raised by a user's code, told as an error that names the code.

A loss that calls `next` on an exhausted iterator raises it. To Lightning it means the ordinary end
of an epoch: the run would finish, without a word, with fewer steps than it reports.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from xent_bench.config.configure import ConfigError
from xent_bench.failures import DataError
from xent_bench.training.code_hash import is_library, is_ours


def exhausted(part: str, stop: StopIteration, when: str) -> ConfigError:
    """The error that names a part of the config, when it was called, and the line that raised.

    `part` is a group of the config: loss, model, optimizer, schedule or data.
    """
    return ConfigError(
        part,
        f"StopIteration {when}, at {place_of(stop)}: an iterator had no next item there; "
        "expected one for every call, or itertools.cycle",
    )


@contextmanager
def blaming(part: str, when: str) -> Iterator[None]:
    """Raise `exhausted` in place of a StopIteration from the code within."""
    try:
        yield
    except StopIteration as stop:
        raise exhausted(part, stop, when) from stop
    except RuntimeError as error:  # Python turns a StopIteration within a generator into this
        if isinstance(error.__cause__, StopIteration):
            raise exhausted(part, error.__cause__, when) from error
        raise


def refuse_lost_steps(taken: int, steps: int, epoch: int) -> None:
    """Raise a DataError if an epoch, counted from 0, ended before all its steps were taken.

    Its numbers would be those of a shorter training.
    """
    if taken != steps:
        raise DataError(f"epoch {epoch + 1} ended after {taken} of {steps} steps; expected all")


def place_of(error: BaseException) -> str:
    """FILE:LINE of the innermost frame in the user's own code, else of the innermost one."""
    frames = traceback.extract_tb(error.__traceback__)
    users = [
        frame for frame in frames if not (is_library(frame.filename) or is_ours(frame.filename))
    ]
    frame = (users or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"
