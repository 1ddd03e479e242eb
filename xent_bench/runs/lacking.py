"""The rule that says whether a run is finished as it was asked for: what its folder still lacks."""

from enum import Flag, auto
from pathlib import Path
from typing import NamedTuple

from xent_bench.failures import DataError
from xent_bench.metrics.reported import calibrators_in
from xent_bench.runs.files import RESULT, WEIGHTS, is_pending
from xent_bench.runs.result import load_run


class Asked(NamedTuple):
    """Requests to a run beside its training. The defaults ask for nothing."""

    calibrator: str = "temperature"  # whose numbers its result is to hold; every run fits this one
    weights: bool = False  # in its folder
    offline: bool = True  # else MLflow is to have all of it


class Lack(Flag):
    """Parts of what was asked for that a run folder does not have; empty (false): it is done."""

    RESULT = auto()  # or it cannot be read
    CALIBRATOR = auto()  # the numbers of the calibrator
    WEIGHTS = auto()
    UPLOAD = auto()  # MLflow may lack something of the folder


def lacking(folder: Path, asked: Asked) -> Lack:
    """List the parts that the folder lacks of a run that was asked for like this.

    Without a result nothing else is looked at: training writes all of it.
    """
    try:
        metrics = load_run(folder / RESULT).metrics
    except DataError:  # whoever needs the result reads it again, and says why
        return Lack.RESULT
    lacks = Lack(0)
    if asked.calibrator not in calibrators_in(metrics):
        lacks |= Lack.CALIBRATOR
    if asked.weights and not (folder / WEIGHTS).exists():
        lacks |= Lack.WEIGHTS
    if not asked.offline and is_pending(folder):
        lacks |= Lack.UPLOAD
    return lacks
