"""Publication of a report in MLflow: page, conclusion, a saved view by loss, and run colours."""

import tempfile
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException

from xent_bench.addresses import masked_address
from xent_bench.comparison.compare import Comparison
from xent_bench.failures import Unavailable
from xent_bench.report.conclusion import conclusion
from xent_bench.report.page import loss_colours, write_page
from xent_bench.report.page_runs import Surroundings
from xent_bench.report.tuned import tuning
from xent_bench.runs.files import CONFIG, RUN_ID
from xent_bench.runs.result import Run
from xent_bench.tracking.reach import one_line, store_of, tracking_uri
from xent_bench.tracking.saved_view import CHOSEN, TAG, description, view_tag
from xent_bench.tracking.store import NOTE, existing_store

KIND, REPORT = "kind", "report"
PAGE = "report.html"


def publish(
    comparisons: Sequence[Comparison], uri: str | None, find_folder: Callable[[Run], Path]
) -> list[str]:
    """Store the report in MLflow, as a run called report in each experiment.

    `uri` is the address of the store; None stands for the store that the config of the first run
    names. `find_folder` returns the folder that holds the files of a run. Returns a sentence on
    each report stored. Unavailable if a store cannot be reached or lacks the runs.
    """
    places = []
    for experiment, group in groupby(comparisons, lambda comparison: comparison.experiment):
        of_experiment = list(group)
        store = uri or _uri(of_experiment)
        try:
            places.append(_publish(store, experiment, of_experiment, find_folder))
        except MlflowException as error:
            raise Unavailable(one_line(store, error)) from error
    return places


def _uri(comparisons: Sequence[Comparison]) -> str:
    """Address of the store that the first config of these runs names; the default without one."""
    runs = [run for comparison in comparisons for run in comparison.runs]
    folders = [run.folder for run in runs if run.folder is not None]
    configured = [folder for folder in folders if (folder / CONFIG).exists()]
    try:
        return store_of(configured[0]) if configured else tracking_uri(None)
    except ValueError as error:
        raise Unavailable(str(error)) from error


def _publish(
    uri: str,
    experiment: str,
    comparisons: Sequence[Comparison],
    find_folder: Callable[[Run], Path],
) -> str:
    """Store the report of one experiment; return where it is."""
    client = existing_store(uri)
    stored = client.get_experiment_by_name(experiment)
    if stored is None:
        raise Unavailable(f"no experiment {experiment} in MLflow at {masked_address(uri)}")
    experiment_id = str(stored.experiment_id)
    colours = loss_colours(comparisons)
    for comparison in comparisons:  # before anything is stored: fails if a run is not in MLflow
        _mark(client, comparison, colours)
    run_id = _report_run(client, experiment_id)
    with tempfile.TemporaryDirectory() as folder:
        around = Surroundings(None, lambda _: uri)
        write_page(comparisons, Path(folder) / PAGE, find_folder, around=around)
        client.log_artifact(run_id, str(Path(folder) / PAGE))
    text = "\n\n".join(map(conclusion, comparisons))
    client.set_tag(run_id, NOTE, text)
    client.set_tag(run_id, "tuning", "; ".join(dict.fromkeys(map(tuning, comparisons))))
    client.set_terminated(run_id, "FINISHED")
    report = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{PAGE}"
    losses = sorted({run.params["loss"] for comparison in comparisons for run in comparison.runs})
    client.set_experiment_tag(experiment_id, TAG, view_tag(CHOSEN, losses))
    client.set_experiment_tag(experiment_id, NOTE, description(experiment_id, text, report))
    return f"{masked_address(uri)}, experiment {experiment}, run {REPORT}; xent-ui opens it"


def _report_run(client: MlflowClient, experiment_id: str) -> str:
    """Id of the experiment's run that holds the report; the run is created if there is none."""
    runs = client.search_runs([experiment_id], f"tags.{KIND} = '{REPORT}'", max_results=1)
    if runs:
        return str(runs[0].info.run_id)
    tags = {KIND: REPORT, "mlflow.source.name": "xent-report", "mlflow.source.type": "LOCAL"}
    return str(client.create_run(experiment_id, run_name=REPORT, tags=tags).info.run_id)


def _mark(client: MlflowClient, comparison: Comparison, colours: dict[str, str]) -> None:
    """Tag each run with its loss's colour, and with whether the report is about it.

    The UI uses the colour where it shows single runs; it chooses the colours of groups itself.
    """
    chosen = {id(run) for row in comparison.rows for run in row.runs}
    for run in comparison.runs:
        run_id = run.tags.get(RUN_ID)
        if run_id is None:
            raise Unavailable(
                f"{run.name} has not been sent to MLflow: nothing was published; xent-sync sends "
                "runs that were trained offline"
            )
        tags = {"mlflow.runColor": colours[run.params["loss"]]}
        tags["chosen"] = str(id(run) in chosen).lower()
        client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])
