"""The images of a run as MLflow shows them: beside its run, and beside the metrics of its model."""

import json
from collections.abc import Mapping
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag

from xent_bench.runs.data_account import DataAccount, account_rows

LONGEST_NAME, DIGEST, LONGEST_PROFILE = 500, 36, 100_000  # characters of a data set in MLflow


def name_and_digest(params: Mapping[str, Any], tags: Mapping[str, str]) -> tuple[str, str]:
    """The name of a run's data and the beginning of its hash, which identify it in MLflow."""
    return str(params.get("data"))[:LONGEST_NAME], tags.get("data_sha256", "")[:DIGEST]


def dataset_input(
    account: DataAccount, params: Mapping[str, Any], tags: Mapping[str, str]
) -> DatasetInput:
    """The images of a run as MLflow shows them: named, by their hash, with what is counted."""
    data = str(params.get("data"))
    name, digest = name_and_digest(params, tags)
    dataset = Dataset(
        name=name,
        digest=digest,
        source_type="xent_bench",
        source=json.dumps({"folder": account.folder} if account.folder else {"data": data}),
        profile=json.dumps(dict(account_rows(data, account)))[:LONGEST_PROFILE],
    )
    context = InputTag("mlflow.data.context", ", ".join(account.splits))
    return DatasetInput(dataset, [context])
