"""A report kept in MLflow, where its runs are: page, conclusion, a view by loss, and colours."""

import tempfile
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException

from xent_bench.comparison.compare import Comparison
from xent_bench.failures import Unavailable
from xent_bench.report.conclusion import conclusion, tuning
from xent_bench.report.page import write_page
from xent_bench.report.palette import palette
from xent_bench.runs.result import Run
from xent_bench.tracking.reach import store_of, tracking_uri
from xent_bench.tracking.saved_view import CHOSEN, TAG, description, view_tag
from xent_bench.tracking.store import NOTE, existing_store

KIND, REPORT = "kind", "report"
PAGE = "report.html"


def publish(
    comparisons: Sequence[Comparison], uri: str | None, folder_of: Callable[[Run], Path]
) -> list[str]:
    """Keep them in a store, or in that which their runs' folders name; say where.

    One run called report in each experiment. Unavailable if that cannot be.
    """
    said = []
    for experiment, group in groupby(comparisons, lambda each: each.experiment):
        own = list(group)
        place = uri or _uri(own)
        try:
            said.append(_publish(place, experiment, own, folder_of))
        except MlflowException as error:
            reason = str(error).partition("\n")[0]
            raise Unavailable(f"MLflow at {place}: {reason}") from error
    return said


def _uri(comparisons: Sequence[Comparison]) -> str:
    """What the config of the first run says; else the default."""
    folders = [run.folder for each in comparisons for run in each.runs if run.folder is not None]
    configured = [folder for folder in folders if (folder / "config.yaml").exists()]
    try:
        return store_of(configured[0]) if configured else tracking_uri(None)
    except ValueError as error:
        raise Unavailable(str(error)) from error


def _publish(
    uri: str, experiment: str, comparisons: Sequence[Comparison], folder_of: Callable[[Run], Path]
) -> str:
    client = existing_store(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise Unavailable(f"no experiment {experiment} in MLflow at {uri}")
    experiment_id = str(found.experiment_id)
    for comparison in comparisons:  # first: it fails where a run is not in the store
        _mark(client, comparison)
    run_id = _report_run(client, experiment_id)
    with tempfile.TemporaryDirectory() as folder:
        write_page(comparisons, Path(folder) / PAGE, folder_of)
        client.log_artifact(run_id, str(Path(folder) / PAGE))
    text = "\n\n".join(conclusion(each) for each in comparisons)
    client.set_tag(run_id, NOTE, text)
    client.set_tag(run_id, "tuning", "; ".join(dict.fromkeys(map(tuning, comparisons))))
    client.set_terminated(run_id, "FINISHED")
    report = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{PAGE}"
    losses = sorted({run.params["loss"] for each in comparisons for run in each.runs})
    client.set_experiment_tag(experiment_id, TAG, view_tag(CHOSEN, losses))
    client.set_experiment_tag(experiment_id, NOTE, description(experiment_id, text, report))
    return f"{uri}, experiment {experiment}, run {REPORT}; xent-ui opens it"


def _report_run(client: MlflowClient, experiment_id: str) -> str:
    runs = client.search_runs([experiment_id], f"tags.{KIND} = '{REPORT}'", max_results=1)
    if runs:
        return str(runs[0].info.run_id)
    tags = {KIND: REPORT, "mlflow.source.name": "xent-report", "mlflow.source.type": "LOCAL"}
    return str(client.create_run(experiment_id, run_name=REPORT, tags=tags).info.run_id)


def _mark(client: MlflowClient, comparison: Comparison) -> None:
    """Which runs the report is about; and colours by loss where the UI shows single runs: groups
    it colours itself.
    """
    colours = palette(sorted({run.params["loss"] for run in comparison.runs}))
    chosen = {id(run) for row in comparison.rows for run in row.runs}
    for run in comparison.runs:
        run_id = run.tags.get("mlflow_run_id")
        if run_id is None:
            raise Unavailable(
                f"{run.name} does not know its run in MLflow: nothing was published; xent-sync "
                "sends runs that were trained offline"
            )
        tags = {"mlflow.runColor": colours[run.params["loss"]]}
        tags["chosen"] = str(id(run) in chosen).lower()
        client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])
