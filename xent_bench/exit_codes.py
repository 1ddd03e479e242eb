"""Exit codes of the commands, with one meaning each, which every --help quotes.

The help of xent-train is Hydra's, and its list stands in conf/train.yaml.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from xent_bench.addresses import masked
from xent_bench.failures import DataError, Diverged, Unavailable, UsageError
from xent_bench.printable import printable


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


MAX_WORD, MAX_LINE = 200, 1000  # characters of a message
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


def one_line(text: str) -> str:
    """The text as one printable line: secrets are masked, and long texts lose their middle."""
    # masked first: a secret that is cut cannot be recognised
    words = (_shortened(word, MAX_WORD) for word in printable(masked(text)).split())
    return _shortened(" ".join(words), MAX_LINE)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 4 :]}"


@contextmanager
def quiet_ending() -> Iterator[None]:
    """Exit without a traceback at Ctrl-C and on a full disk, and go on where a pipe's reader left.

    stdout may be a file on that disk.
    """
    try:
        yield
    except BrokenPipeError:  # xent-status | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"{os.path.basename(sys.argv[0])}: {one_line(str(error))}", file=sys.stderr)
        sys.exit(Exit.UNAVAILABLE)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(Exit.INTERRUPTED)


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turn a user's error within into one line and an exit code, and end quietly.

    A ValueError is read as bad data.
    """
    with quiet_ending():
        try:
            yield
        except BrokenPipeError:
            raise
        except (ValueError, OSError, Unavailable) as error:
            print(f"{program}: {one_line(str(error))}", file=sys.stderr)
            sys.exit(exit_code_of(error))


def exit_code_of(error: Exception) -> Exit:
    """The exit code of an error: USAGE or DATA for a ValueError, else UNAVAILABLE."""
    if isinstance(error, UsageError):
        return Exit.USAGE
    return Exit.DATA if isinstance(error, ValueError) else Exit.UNAVAILABLE
