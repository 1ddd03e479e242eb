"""The registry of models in MLflow: a run's model as a version of a name that services know.

A version is recognised by its run's key and the hash of its weights, so that a command that is
typed twice finds the version that it made.
"""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils import validation

from xent_bench.addresses import masked_address
from xent_bench.failures import DataError, Unavailable, UsageError
from xent_bench.runs.files import MODEL
from xent_bench.runs.model_folder import CARD
from xent_bench.runs.reading import read_text
from xent_bench.runs.result import mlflow_run_id
from xent_bench.tracking.logged_model import (
    WEIGHTS,
    ModelOfRun,
    find_model,
    load_model,
    shortened_card,
)
from xent_bench.tracking.mirror import OUT_OF_REACH, contents
from xent_bench.tracking.own_run import KEY, SUPERSEDED
from xent_bench.tracking.reach import complaint, one_line
from xent_bench.tracking.saved_view import TRAINING
from xent_bench.tracking.send import send
from xent_bench.tracking.store import existing_store

VERSIONS_TAG = "mlflow.modelVersions"  # of a LoggedModel: MLflow's UI shows its versions by it
LONGEST_DESCRIPTION = 5000  # characters of the description of a version
LONGEST_NAME = 256
PAGE = 200  # versions of the same weights that are looked at
EXISTS, INVALID = "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE"
LOCAL_UI = "http://127.0.0.1:5000"  # where xent-ui serves


class Registered(NamedTuple):
    """A version of a registered model."""

    name: str
    version: str
    is_new: bool  # False: it was registered before
    store: str

    @property
    def address(self) -> str:
        """The address by which MLflow loads this version."""
        return f"models:/{self.name}/{self.version}"

    def command(self, images: str = "images.json") -> str:
        """The command that predicts the images of a file with this version."""
        model = shlex.quote(self.address)
        store = shlex.quote(masked_address(self.store))
        return (
            f"MLFLOW_TRACKING_URI={store} mlflow models predict -m {model} "
            f"-i {shlex.quote(images)} -t json --env-manager local"
        )

    @property
    def is_served(self) -> bool:
        """Whether a server shows the store, so that nobody has to start xent-ui."""
        return self.store.lower().startswith("http")

    @property
    def page(self) -> str:
        """The page of this version in MLflow's UI: of the server, or of xent-ui."""
        root = masked_address(self.store).rstrip("/") if self.is_served else LOCAL_UI
        place = f"models/{quote(self.name, safe='')}/versions/{self.version}"
        return f"{root}/#/{place}?{TRAINING}"


def check_name(name: str, alias: str | None = None) -> None:
    """UsageError for a name of a model, or an alias of a version, that MLflow refuses."""
    rules: Any = validation  # has no types; private, but its public calls need a store
    try:
        rules._validate_model_name(name)
        if alias is not None:
            rules._validate_model_alias_name(alias)
            rules._validate_model_alias_name_reserved(alias)
    except MlflowException as error:
        raise UsageError(_first_line(error)) from error
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(
            f"expected a name of at most {LONGEST_NAME} printable characters, got {name[:50]!r}"
        )


def register(folder: Path, store: str, name: str, alias: str | None = None) -> Registered:
    """Register the model in a run's folder as a version of `name`; return the version.

    The caller holds the folder's lock. What the store lacks of the run is sent first. The version
    with these weights is found again, and gets the alias, which another version then loses.
    Unavailable where the store cannot be used; UsageError for a name that MLflow refuses.
    """
    if failure := complaint(store):  # MLflow itself would try for minutes
        raise Unavailable(failure)
    send(folder, store)
    with _one_line_errors(store):
        return _register(folder, store, name, alias)


def _register(folder: Path, store: str, name: str, alias: str | None) -> Registered:
    client = existing_store(store)
    run = client.get_run(str(mlflow_run_id(folder)))
    model = load_model(folder, contents(folder).points)
    if model is None:
        raise DataError(f"expected a model to register in {folder / MODEL}, got none")
    logged = find_model(client, run.info.experiment_id, run.info.run_id, model)
    if logged is None:
        by = run.data.tags.get(SUPERSEDED)
        why = f": the run {by} of the same key, which ended later, has taken its place" * bool(by)
        raise DataError(f"cannot register {folder}: its MLflow run is put away{why}")
    version = _version_with(client, name, model)
    is_new = version is None
    if version is None:
        version = _new_version(client, name, folder, logged, model)
    _show_at_model(client, logged, version)
    if alias is not None:
        client.set_registered_model_alias(name, alias, str(version.version))
    return Registered(name, str(version.version), is_new, store)


def _version_with(client: MlflowClient, name: str, model: ModelOfRun) -> ModelVersion | None:
    """Find the newest version of `name` with the key and the weights of the model."""
    weights, key = model.tags[WEIGHTS], model.tags[KEY]
    versions = client.search_model_versions(f"tags.{WEIGHTS} = '{weights}'", max_results=PAGE)
    same = [
        version for version in versions if version.name == name and version.tags.get(KEY) == key
    ]
    return max(same, key=lambda version: int(version.version), default=None)


def _new_version(
    client: MlflowClient, name: str, folder: Path, logged: LoggedModel, model: ModelOfRun
) -> ModelVersion:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != EXISTS:
            raise
    return client.create_model_version(
        name,
        logged.artifact_location,
        logged.source_run_id,
        tags=model.tags,
        description=_description(folder / MODEL / CARD),
        model_id=logged.model_id,
    )


def _description(card: Path) -> str | None:
    """The model card, as far as MLflow can hold it; None without one."""
    return shortened_card(read_text(card), LONGEST_DESCRIPTION) if card.is_file() else None


def _show_at_model(client: MlflowClient, logged: LoggedModel, version: ModelVersion) -> None:
    """Note the version at the LoggedModel, where a server has not done so itself."""
    tags = client.get_logged_model(logged.model_id).tags
    versions = json.loads(tags.get(VERSIONS_TAG, "[]"))
    if not any(
        entry["name"] == version.name and str(entry["version"]) == str(version.version)
        for entry in versions
    ):
        new = {"name": version.name, "version": str(version.version)}
        client.set_logged_model_tags(logged.model_id, {VERSIONS_TAG: json.dumps([*versions, new])})


@contextmanager
def _one_line_errors(store: str) -> Iterator[None]:
    """Turn errors of MLflow into one line that names the store."""
    try:
        yield
    except MlflowException as error:
        if error.error_code == INVALID:
            raise UsageError(_first_line(error)) from error
        raise Unavailable(one_line(store, error)) from error
    except OUT_OF_REACH as error:
        raise Unavailable(complaint(store) or one_line(store, error)) from error


def _first_line(error: MlflowException) -> str:
    return " ".join(str(error.message).partition("\n")[0].split())
