"""The folder of the sockets by which processes talk, whose name may have 107 bytes on Linux."""

import os
import tempfile

from xent_bench.failures import Unavailable

LONGEST = 90  # bytes that multiprocessing's sockets may have, on macOS too, which allows 103
BELOW = len("/pymp-12345678/listener-12345678")  # what it adds to the folder's name
SHORT = "/tmp"


def give_sockets_room() -> None:
    """Let multiprocessing keep its sockets in /tmp where the name of TMPDIR is too long for them.

    Its "AF_UNIX path too long" names no folder. Unavailable if /tmp cannot be written.
    """
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) + BELOW <= LONGEST:
        return
    from multiprocessing.util import get_temp_dir  # makes the folder once, and deletes it at exit

    tempfile.tempdir = SHORT
    try:
        get_temp_dir()
    except OSError as error:
        raise Unavailable(
            f"{folder} is too long a name for sockets, and {SHORT} cannot be used: {error}; set "
            f"TMPDIR to a folder with a name of at most {LONGEST - BELOW} bytes"
        ) from error
    finally:
        tempfile.tempdir = folder
