"""Exit codes of the commands: one meaning each, which every --help quotes from here."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from xent_bench.failures import DataError, Diverged, Unavailable


class Exit(IntEnum):
    """The exit codes; 75 is EX_TEMPFAIL of sysexits.h, 130 is a shell's code for Ctrl-C."""

    DONE = 0
    NOT_AS_EXPECTED = 1
    USAGE = 2
    DATA = 3
    UNAVAILABLE = 4
    DIVERGED = 5
    PREEMPTED = 75
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done",
    Exit.NOT_AS_EXPECTED: "something is not as expected",
    Exit.USAGE: "bad usage or configuration",
    Exit.DATA: "runs or images are missing or unreadable",
    Exit.UNAVAILABLE: "a store, a device, disk or memory is not available",
    Exit.DIVERGED: "diverged",
    Exit.PREEMPTED: "preempted",
    Exit.INTERRUPTED: "interrupted",
}
# OSError: disk full, no permission, no such folder
CODES: dict[type[Exception], Exit] = {
    DataError: Exit.DATA,
    Unavailable: Exit.UNAVAILABLE,
    OSError: Exit.UNAVAILABLE,
    Diverged: Exit.DIVERGED,
}


def exit_codes_help(*codes: Exit) -> str:
    """The sentence of a --help that lists these exit codes, and 0."""
    return f"Exit codes: {', '.join(f'{code} {MEANINGS[code]}' for code in (Exit.DONE, *codes))}."


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turn a user's error within into one line and an exit code; go on where a pipe was closed.

    ValueError is read as bad data. `xent-status | head` closes the pipe of its output.
    """
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, Unavailable) as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(code_of(error))
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from here.")
        sys.exit(Exit.INTERRUPTED)


def code_of(error: Exception) -> Exit:
    """The exit code of an error: DATA for any ValueError, else UNAVAILABLE."""
    return Exit.DATA if isinstance(error, ValueError) else Exit.UNAVAILABLE
