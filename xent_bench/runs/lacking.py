"""The rule that says whether a run is finished as it was asked for: what its folder still lacks."""

from enum import Flag, auto
from pathlib import Path
from typing import NamedTuple

from xent_bench.failures import DataError
from xent_bench.metrics.reported import calibrators_in
from xent_bench.metrics.shifts import FOREIGN as FOREIGN_KEYS
from xent_bench.metrics.shifts import SHIFT as SHIFT_KEYS
from xent_bench.runs.begun import load_begun, paused_epoch
from xent_bench.runs.files import (
    FOREIGN,
    MODEL,
    PICTURES,
    RESULT,
    SHIFT,
    WEIGHTS,
    has_result,
    is_pending,
)
from xent_bench.runs.result import load_run


class Asked(NamedTuple):
    """Requests to a run beside its training. The defaults ask for nothing."""

    calibrator: str = "temperature"  # whose numbers its result is to hold; every run fits this one
    weights: bool = False  # in its folder
    offline: bool = True  # else MLflow is to have all of it
    shift: tuple[str, ...] = ()  # corruptions under which test is to be scored, as 'fog/3'
    foreign: tuple[str, ...] = ()  # names of foreign sets
    model: bool = False  # as an MLflow model
    pictures: bool = False
    pause_after: int | None = None  # an epoch to pause after; the other requests then wait


class Lack(Flag):
    """Parts of what was asked for that a run folder does not have; empty (false): it is done."""

    RESULT = auto()  # or it cannot be read; a pause takes its place where one is asked for
    CALIBRATOR = auto()  # the numbers of the calibrator
    WEIGHTS = auto()
    SHIFT = auto()  # scores under a corruption
    FOREIGN = auto()  # scores on a foreign set
    MODEL = auto()  # the MLflow model
    PICTURES = auto()
    UPLOAD = auto()  # MLflow may lack something of the folder


def lacking(folder: Path, asked: Asked) -> Lack:
    """List the parts that the folder lacks of a run that was asked for like this.

    Without a result nothing else is looked at: training writes all of it.
    """
    lacks = Lack(0)
    if not asked.offline and is_pending(folder):
        lacks |= Lack.UPLOAD
    if not has_result(folder) and has_ended(folder, asked.pause_after):
        return lacks
    try:
        metrics = load_run(folder / RESULT).metrics
    except DataError:  # whoever needs the result reads it again, and says why
        return Lack.RESULT
    if asked.calibrator not in calibrators_in(metrics):
        lacks |= Lack.CALIBRATOR
    lacks |= _files_lacking(folder, asked)
    # the scores, and the outputs from which they can be computed again
    scores = {f"{SHIFT_KEYS}/{condition}/top1" for condition in asked.shift}
    if asked.shift and not (scores <= metrics.keys() and (folder / SHIFT).exists()):
        lacks |= Lack.SHIFT
    scores = {f"{FOREIGN_KEYS}/{name}/auroc_margin" for name in asked.foreign}
    if asked.foreign and not (scores <= metrics.keys() and (folder / FOREIGN).exists()):
        lacks |= Lack.FOREIGN
    return lacks


def has_ended(folder: Path, pause_after: int | None) -> bool:
    """Whether the run has a result, or is paused after the epoch that was asked for or a later one.

    Without such an epoch only a result counts.
    """
    if has_result(folder) or pause_after is None:
        return has_result(folder)
    try:
        epoch = paused_epoch(load_begun(folder))
    except DataError:  # nothing began, or the record of it is damaged
        return False
    return epoch is not None and epoch >= pause_after


def _files_lacking(folder: Path, asked: Asked) -> Lack:
    """The parts that lie in the folder under a name of their own, and are not there."""
    lacks = Lack(0)
    if asked.weights and not (folder / WEIGHTS).exists():
        lacks |= Lack.WEIGHTS
    if asked.model and not (folder / MODEL).exists():
        lacks |= Lack.MODEL
    if asked.pictures and not (folder / PICTURES).exists():
        lacks |= Lack.PICTURES
    return lacks
