"""How far a sweep by a design is, by the runs that are on the disk now."""

import json
from pathlib import Path

from xent_bench.config.design_keys import DESIGN
from xent_bench.designs.designed import Designed
from xent_bench.designs.ledger import Ledger, Outcome
from xent_bench.designs.requests import ask_for_runs
from xent_bench.failures import DataError
from xent_bench.runs.begun import STILL_RUNNING, is_paused, load_unfinished_run, was_stopped
from xent_bench.runs.design import design_of
from xent_bench.runs.files import BEGUN, has_result
from xent_bench.runs.sweep_record import Beginning, Sweep


def beginning_of(designed: Designed) -> Beginning | None:
    """The beginning of a sweep for its record; None where its runs follow from no others.

    An adaptive search is not kept: its points are known to its command alone.
    """
    design = designed.design
    if not design.has_rounds or design.is_adaptive:
        return None
    values = design._asdict() | {"trials": design.trials or 0}  # a tag holds no null
    text = json.dumps(values, sort_keys=True)
    of_config = designed.loss, designed.seed, designed.epochs
    return Beginning(text, designed.combinations, *of_config)


def progress(record: Sweep, folder: Path) -> Sweep:
    """The record with what is decided now, and what may follow; unchanged where that is unknown.

    `folder` has the sweep's runs; it may have been moved since the record was written.
    """
    if record.began is None:
        return record
    design = design_of({DESIGN: record.began.design})
    trials = design.trials or None
    began = record.began
    designed = Designed(
        design._replace(trials=trials), began.combinations, began.loss, began.seed, began.epochs
    )
    places = {tuple(run.overrides): folder / run.folder.name for run in record.runs}
    ledger = Ledger(lambda run: _outcome(places.get(run)))
    try:
        ask_for_runs(ledger, designed)
    except ValueError:  # a run that is damaged, which its own line names
        return record
    return record._replace(news=tuple(ledger.news), further=tuple(ledger.further))


def _outcome(folder: Path | None) -> Outcome | None:
    return None if folder is None else Outcome(folder, _has_failed(folder))


def _has_failed(folder: Path) -> bool:
    """Whether the run ended without a result, and its command alone will not go on with it."""
    if has_result(folder) or not (folder / BEGUN).exists():
        return False
    try:
        run = load_unfinished_run(folder)
    except DataError:
        return False
    return not (was_stopped(run) or is_paused(run) or run.reason == STILL_RUNNING)
