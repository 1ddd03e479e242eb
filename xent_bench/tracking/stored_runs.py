"""Runs read from an MLflow store, for a report where the run folders are out of reach.

An infinite score, which MLflow does not hold, is named by the tag `infinite`.
"""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow.entities import Run as StoredRun
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException

from xent_bench.addresses import masked_address
from xent_bench.failures import Unavailable
from xent_bench.printable import all_printable, printable
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.curves import DRAWN
from xent_bench.runs.files import CURVES, IMAGES, PREDICTIONS, RUN_ID
from xent_bench.runs.result import EPOCHS_TRAINED, Run, check, checked_run_id
from xent_bench.tracking.reach import one_line
from xent_bench.tracking.saved_view import TRAINED
from xent_bench.tracking.store import existing_store

NOT_OF_TEST = ("train/", "time/")
REASONS = {"RUNNING": "killed or still running", "KILLED": "stopped"}


def load_stored_runs(uri: str, experiment: str | None) -> tuple[list[Run], list[Unfinished]]:
    """Load the finished and the unfinished runs of all experiments, or of one.

    Of several runs with the same key the newest counts.

    A ValueError if there is no finished run; Unavailable if there is no such store.
    """
    runs, unfinished, names = _loaded(uri, experiment)
    if not runs:
        shown = masked_address(uri)
        where = f"experiment {experiment} of {shown}" if experiment else shown
        experiments = ", ".join(sorted(names))
        raise ValueError(f"no finished run in {where}; experiments there: {experiments}")
    return runs, unfinished


def find_stored_runs(uri: str, experiment: str | None) -> tuple[list[Run], list[Unfinished]]:
    """Load the finished and the unfinished runs; both lists are empty if there are none."""
    runs, unfinished, _ = _loaded(uri, experiment)
    return runs, unfinished


def _loaded(uri: str, experiment: str | None) -> tuple[list[Run], list[Unfinished], list[str]]:
    """Finished runs, unfinished ones, and the names of all experiments of the store."""
    client = existing_store(uri)
    try:
        names = {str(entry.experiment_id): entry.name for entry in client.search_experiments()}
        ids = [key for key, name in names.items() if experiment in (None, name)]
        mlflow_runs = _search(client, ids) if ids else []
    except Exception as error:  # MLflow's, or that of the database below it
        raise Unavailable(one_line(uri, error)) from error
    runs, unfinished = {}, {}
    for stored in reversed(mlflow_runs):  # the oldest first: a newer one overwrites it
        if "key" not in stored.data.tags:  # somebody else's, who has a parameter of this name
            continue
        name = names[str(stored.info.experiment_id)]
        key = name, stored.data.tags["key"]
        if stored.info.status == RunStatus.to_string(RunStatus.FINISHED):
            runs[key] = _run(stored, name)
        else:
            unfinished[key] = _unfinished(stored, name, client)
    without_result = [run for key, run in unfinished.items() if key not in runs]
    return list(runs.values()), without_result, list(names.values())


def fetch(run: Run, uri: str, folder: Path) -> Path:
    """Download the run's predictions and curves, as far as they are there, to a new folder."""
    client, run_id = existing_store(uri), run.tags[RUN_ID]
    run_folder = folder / run_id
    run_folder.mkdir()
    for name in (PREDICTIONS, IMAGES):
        with suppress(MlflowException, OSError):  # the page says what it lacks
            _refuse_other_hosts(client, run_id, uri)
            client.download_artifacts(run_id, name, str(run_folder))
    steps: dict[int, dict[str, float]] = {}
    with suppress(MlflowException):
        for key in DRAWN:
            for point in client.get_metric_history(run_id, key):
                steps.setdefault(point.step, {})[key] = point.value
    if steps:
        (run_folder / CURVES).write_text(json.dumps(steps))
    return run_folder


def _refuse_other_hosts(client: Any, run_id: str, uri: str) -> None:
    """Raise an OSError where a store that is a file names another host for a run's files.

    The file may come from somebody else, and a request would carry the user's login.
    """
    place = str(client.get_run(run_id).info.artifact_uri)
    scheme = place.partition("://")[0] if "://" in place else place.partition(":")[0]
    if uri.startswith("sqlite") and ":" in place and scheme != "file":
        raise OSError(f"expected the files of {run_id} on this machine, got {place}")


def _search(client: Any, experiments: list[str]) -> list[StoredRun]:
    """Find the trained runs on all pages of the answer, the newest first."""
    runs: list[StoredRun] = []
    token = None
    while True:
        page = client.search_runs(
            experiments, TRAINED, max_results=1000, order_by=["start_time DESC"], page_token=token
        )
        runs += page
        token = page.token
        if not token:
            return runs


def _run(stored: StoredRun, experiment: str) -> Run:
    tags, metrics = all_printable(dict(stored.data.tags)), dict(stored.data.metrics)
    n_test = tags.get("n_test", "")  # anybody may edit a tag: `check` refuses less than 1
    scores = {k: v for k, v in metrics.items() if not k.startswith(NOT_OF_TEST)}
    scores.pop("val/loss", None)
    scores |= dict.fromkeys(tags.get("infinite", "").split(), math.inf)
    run = Run(
        name=printable(str(stored.info.run_name)),
        experiment=printable(experiment),
        params=all_printable(dict(stored.data.params)),
        metrics=scores,
        tags=tags | {RUN_ID: str(stored.info.run_id)},
        command=tags.get("command", ""),
        n_test=int(n_test) if n_test.isdecimal() else 0,
        seconds=metrics.get("time/seconds", 0.0),
        examples_per_second=metrics.get("time/examples_per_second"),
    )
    try:
        check(run)
        checked_run_id(run.tags[RUN_ID])  # the name of a folder, in `fetch`
    except ValueError as error:
        raise ValueError(f"run {stored.info.run_id} of {experiment}: {error}") from error
    return run


def _unfinished(stored: StoredRun, experiment: str, client: Any) -> Unfinished:
    tags = all_printable(dict(stored.data.tags))
    scores = {key: value for key, value in stored.data.metrics.items() if key.startswith("val/")}
    return Unfinished(
        name=printable(str(stored.info.run_name)),
        experiment=printable(experiment),
        params=all_printable(dict(stored.data.params)),
        command=tags.get("command", ""),
        reason=tags.get("failure")
        or tags.get("paused")
        or REASONS.get(stored.info.status, stored.info.status),
        tags=tags | _epochs_trained(stored, client),
        metrics=scores,
    )


def _epochs_trained(stored: StoredRun, client: Any) -> dict[str, str]:
    """The number of epochs that a run without a result has points of, as a tag."""
    keys = sorted(key for key in stored.data.metrics if key.startswith("val/"))
    try:
        points = client.get_metric_history(stored.info.run_id, keys[0]) if keys else []
    except MlflowException:  # the report says that the epochs are unknown
        return {}
    return {EPOCHS_TRAINED: str(len({point.step for point in points}))}
