"""Repetition of requests whose connection was cut: MLflow may have processed them already.

Whatever is sent twice is kept once (`mirror.py`), and a run that was created unseen is recognised
by its owner tag (`own_run.py`). MLflow's own retries would create a second one.
"""

import re
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TRIES = 4
PAUSE = 0.2  # seconds
_IS_CUT = re.compile(r"aborted|reset by peer|closed connection|Broken pipe|IncompleteRead|502|503")


def again_if_cut(action: Callable[[], T]) -> T:
    """Do the action, and again while its connection is cut; the last error is raised."""
    for _ in range(TRIES - 1):
        try:
            return action()
        except Exception as error:
            if not _IS_CUT.search(str(error)):
                raise
        time.sleep(PAUSE)
    return action()
