"""A comparison of run folders with what an MLflow store has of them: the store is asked."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from xent_bench.failures import Unavailable
from xent_bench.runs.begun import Unfinished, load_begun
from xent_bench.runs.files import AT_START, PICTURES
from xent_bench.runs.result import mlflow_run_id
from xent_bench.tracking.logged_model import load_model, model_differences
from xent_bench.tracking.mirror import OUT_OF_REACH, Contents, artifact_place, contents, is_same
from xent_bench.tracking.own_run import KEY, PAGE, SUPERSEDED, USER
from xent_bench.tracking.reach import one_line
from xent_bench.tracking.store import existing_store

SHORTEST_CUT = 250  # characters: MLflow cuts long values, at other lengths in other versions


@dataclass
class Stored:
    """The runs of a store, read in pages once: some metrics of each have one point alone."""

    client: MlflowClient | None  # None for a store that does not exist yet
    runs: dict[str, StoredRun] = field(default_factory=dict)  # active ones, by their ids
    ids: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # by experiment and key

    def add(self, experiment: str, run: StoredRun) -> None:
        """Add a run, which replaces an older reading of it."""
        run_id = str(run.info.run_id)
        self.runs[run_id] = run
        ids = self.ids.setdefault((experiment, run.data.tags.get(KEY, "")), [])
        if run_id not in ids:
            ids.append(run_id)


def read_store(uri: str, experiments: Collection[str]) -> Stored:
    """Read the active runs of these experiments. Unavailable if the store does not answer."""
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return Stored(None)
    client = existing_store(uri)
    stored = Stored(client)
    try:
        for name in experiments:
            experiment = client.get_experiment_by_name(name)
            if experiment is not None:
                for run in _pages(client, experiment.experiment_id):
                    stored.add(name, run)
    except OUT_OF_REACH as error:
        raise Unavailable(one_line(uri, error)) from error
    return stored


def read_again(folder: Path, uri: str) -> Stored:
    """Read the folder's run alone, after something was sent."""
    stored = Stored(existing_store(uri))
    assert stored.client is not None
    run = stored.client.get_run(str(mlflow_run_id(folder)))
    if run.info.lifecycle_stage == "active":
        stored.add(load_begun(folder).experiment, run)
    elif by := run.data.tags.get(SUPERSEDED):  # for a later training of the same key
        stored.runs[by] = stored.client.get_run(by)
    return stored


def differences(folder: Path, stored: Stored, *, whole: bool = False) -> list[str]:
    """List what the store lacks of the folder, or has otherwise; empty if it has all of it.

    `whole`: also the number of points of each curve, and the files, which takes more requests.
    """
    begun, wanted = load_begun(folder), contents(folder)
    run = find(folder, begun, stored)
    if run is None:
        return [] if _is_superseded(folder, stored) else ["the run"]
    lacks = _of_run(run, begun, wanted) + _twins(run, begun, stored)
    model = load_model(folder, wanted.points) if wanted.status == "FINISHED" else None
    if model is not None and stored.client is not None:
        ids = (run.info.experiment_id, run.info.run_id)
        lacks += model_differences(stored.client, *ids, model, whole=whole)
    if whole and stored.client is not None:
        lacks += _of_curves(stored.client, run, wanted)
        lacks += _of_files(stored.client, run, folder, wanted)
    return lacks


def find(folder: Path, begun: Unfinished, stored: Stored) -> StoredRun | None:
    """The active MLflow run of the folder: by its id, else by its key and the instant it began."""
    run = stored.runs.get(mlflow_run_id(folder) or "")
    key = begun.tags.get(KEY, "")
    if run is not None and run.data.tags.get(KEY, key) == key:
        return run
    started = int(1000 * (begun.started or 0))
    of_key = [stored.runs[run_id] for run_id in stored.ids.get((begun.experiment, key), [])]
    return next((run for run in of_key if key and run.info.start_time == started), None)


def _pages(client: MlflowClient, experiment_id: str) -> Iterator[StoredRun]:
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], "", ViewType.ACTIVE_ONLY, max_results=PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _is_superseded(folder: Path, stored: Stored) -> bool:
    """Whether the folder's run was put away for a later training of the same key."""
    run_id = mlflow_run_id(folder)
    if stored.client is None or run_id is None:
        return False
    try:
        run = stored.client.get_run(run_id)
    except MlflowException:
        return False
    return run.data.tags.get(SUPERSEDED) in stored.runs


def _of_run(run: StoredRun, begun: Unfinished, wanted: Contents) -> list[str]:
    lacks = []
    if run.info.status != wanted.status:
        lacks.append(f"status {run.info.status}")
    lacks += _of_texts("param", begun.params, run.data.params)
    lacks += _of_texts("tag", _compared_tags(begun.tags | wanted.tags), run.data.tags)
    last = {point.key: point.value for point in sorted(wanted.points, key=lambda point: point.step)}
    other = [key for key, value in last.items() if run.data.metrics.get(key) != value]
    return [*lacks, *_listed("metric", other)]


def _twins(run: StoredRun, begun: Unfinished, stored: Stored) -> list[str]:
    """Other active runs of the key that have ended: one of them is to be put away."""
    key = begun.tags.get(KEY)
    ids = stored.ids.get((begun.experiment, key), []) if key else []
    twins = [
        run_id
        for run_id in ids
        if run_id != run.info.run_id
        and stored.runs[run_id].info.status != "RUNNING"
        and stored.runs[run_id].data.tags.get(USER) == run.data.tags.get(USER)
    ]
    return [f"{len(twins) + 1} runs of its key"] if twins and run.info.status == "FINISHED" else []


def _compared_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Differing tags, without those that people edit on MLflow's pages: description and name."""
    return {key: value for key, value in tags.items() if not key.startswith("mlflow.")}


def _of_texts(kind: str, wanted: Mapping[str, Any], stored: Mapping[str, str]) -> list[str]:
    other = []
    for key, value in wanted.items():
        text, stored_text = str(value), stored.get(key)
        is_cut = len(stored_text or "") >= SHORTEST_CUT and text.startswith(stored_text or "")
        if text != stored_text and not is_cut:
            other.append(key)
    return _listed(kind, other)


def _of_curves(client: MlflowClient, run: StoredRun, wanted: Contents) -> list[str]:
    """Differing points of curves; a final metric has one point, which was compared before."""
    counts = Counter(point.key for point in wanted.points if point.step)
    lacks = []
    for key, number in counts.items():
        if key in run.data.metrics:
            stored = len(client.get_metric_history(run.info.run_id, key))
            if stored != number:
                lacks.append(f"{stored} of {number} points of {key}")
    return lacks


def _of_files(client: MlflowClient, run: StoredRun, folder: Path, wanted: Contents) -> list[str]:
    """Differing files: compared by size, and by their bytes if both are on this machine."""
    config = [folder / name for name in AT_START if (folder / name).is_file()]
    lacks = []
    for artifact_folder, files in (("", [*config, *wanted.files]), (PICTURES, wanted.pictures)):
        if not files:
            continue
        place = run.info.artifact_uri
        if place.startswith("file:"):
            root = artifact_place(place) / artifact_folder
            other = [file for file in files if not is_same(file, root / file.name)]
        else:
            listed = client.list_artifacts(run.info.run_id, artifact_folder or None)
            sizes = {Path(artifact.path).name: artifact.file_size for artifact in listed}
            other = [file for file in files if sizes.get(file.name) != file.stat().st_size]
        lacks += [str(file.relative_to(folder)) for file in other]
    return lacks


def _listed(kind: str, keys: Sequence[str]) -> list[str]:
    if not keys:
        return []
    some = ", ".join(keys[:3]) + (" ..." if len(keys) > 3 else "")
    return [f"{len(keys)} {kind}{'s' * (len(keys) > 1)} ({some})"]
