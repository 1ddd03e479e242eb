"""A view of an experiment that MLflow's UI opens by an address: runs grouped by loss.

MLflow 3 keeps the views that people share as tags of the experiment: the state of the page as JSON,
deflated, in base64. The form is not documented and was read off what the UI writes; an MLflow that
does not know it shows its usual page.
"""

import base64
import json
import time
import zlib
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from xent_bench.metrics.reported import BAND, LAST_TENTH, METRICS, RECIPE
from xent_bench.metrics.shifts import FIFTEEN, FOUR, MEAN, SCORES, SEVERITIES, condition

KEY = "losses"
TRAINING = "workflowType=machine_learning"
TAG = f"mlflow.sharedViewState.{KEY}"
CHARTS = {  # by section, which is what stands before the slash of a metric
    "test": ("test/top1", "test/nll", "test/ece", "test/brier"),
    "test_ts": ("test_ts/nll", "test_ts/ece", "test_ts/brier", "test_ts/temperature"),
    "val": ("val/nll", "val/top1", "val/ece"),
    "train": ("train/loss",),
    "shift": ("shift/mean/top1", "shift/mean/ece"),
    "shift_ts": ("shift_ts/mean/nll", "shift_ts/mean/ece"),
}
CLOSED = ("shift", "shift_ts")  # sections to open by hand: in most experiments they are empty
CURVES = ("val", "train")
COLUMNS = ("test/top1", "test/nll", "test_ts/nll", "test/ece", "test_ts/ece", "val/top1")
PARAMS = ("seed", "optimizer.lr")
MOST_RUNS = 20  # in a chart; the UI begins with ten
TRAINED = "params.loss LIKE '%'"  # no report
CHOSEN = "tags.chosen = 'true'"  # of each loss the trial that the report is about


def view_tag(runs: str = TRAINED, losses: Sequence[str] = ()) -> str:
    """The value of the tag that holds the view.

    `runs` is a filter of the runs to show; the runs of `losses` are folded away.
    """
    now = int(1000 * time.time())
    state = json.dumps(_state(runs, losses)).encode()
    packed = base64.b64encode(zlib.compress(state, 9)).decode()
    view = {"name": "Losses", "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
    return json.dumps(view)


def view_address(experiment_id: str, *, table: bool = False) -> str:
    """The part of the view's address that follows the address of the server."""
    mode = "" if table else "&compareRunsMode=CHART"
    # MLflow 3 opens on its pages for language models unless told otherwise
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}{mode}&{TRAINING}"


def description(experiment_id: str, text: str = "", report: str = "") -> str:
    """The text of the experiment's page, in Markdown."""
    links = [f"[Runs by loss]({view_address(experiment_id)})"]
    links += [f"[The report]({report})"] if report else []
    return "\n\n".join(filter(None, [" · ".join(links), text]))


def _state(runs: str, losses: Sequence[str]) -> dict[str, Any]:
    shown = [key for section in CHARTS.values() for key in section]
    # what is neither shown nor deleted, the UI would add
    hidden = [key for key in _every_metric() if key not in shown]
    sections = dict.fromkeys([*CHARTS, *(key.partition("/")[0] for key in hidden)])
    group = {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "param", "groupByData": "loss"}],
    }
    return {
        "searchFilter": runs,
        "orderByKey": "metrics.`test_ts/nll`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"params.`{key}`" for key in PARAMS]
        + [f"metrics.`{key}`" for key in COLUMNS],
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "SHOWALL",
        "runsVisibilityMap": {},
        "groupBy": group,
        "groupsExpanded": {f"param.loss.{loss}": False for loss in losses},
        "useGroupedValuesInCharts": True,
        "compareRunCharts": [_chart(key) for key in shown]
        + [_chart(key) | {"deleted": True} for key in hidden]
        + [_unseen(key) for key in _under_shift() if key not in shown],
        "compareRunSections": [
            {
                "uuid": _id(name),
                "name": name,
                "display": name in CHARTS and name not in CLOSED,
                "isReordered": False,
            }
            for name in sections
        ],
        "isAccordionReordered": False,
        "autoRefreshEnabled": False,
        "hideEmptyCharts": True,
        "viewMaximized": False,
        "runListHidden": False,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _every_metric() -> list[str]:
    readings = [
        f"{prefix}/{metric.name}"
        for prefix in ("test", "test_ts", "val")
        for metric in METRICS.values()
        if prefix in metric.prefixes
    ]
    errors = [f"{split}_se/{key}" for split in ("test", "test_ts") for key in METRICS]
    judged = ("test", "test_ts", RECIPE)
    bands = [f"{prefix}_null/{key}" for prefix in judged for key in BAND]
    others = ["test_ts/temperature_at_bound", "test_ts_se/temperature", "val/loss"]
    times = ["time/seconds", "time/examples_per_second", "time/epoch_seconds"]
    return [*readings, *errors, *bands, *others, *LAST_TENTH, *times]


def _under_shift() -> list[str]:
    """Every score under a corruption at a severity: 800 charts, in a section for each."""
    names = (*FIFTEEN, *FOUR, MEAN)
    places = [condition(name, severity) for name in names for severity in SEVERITIES]
    return [
        f"{prefix}/{place}/{score}"
        for prefix, scores in SCORES.items()
        for place in (*places, MEAN)
        for score in scores
    ]


def _unseen(key: str) -> dict[str, Any]:
    """A chart that is not shown, in few bytes: MLflow takes a tag of 20,000 characters."""
    return {
        "uuid": key,
        "type": "BAR",
        "metricKey": key,
        "isGenerated": True,
        "deleted": True,
    }


def _chart(key: str) -> dict[str, Any]:
    """A curve of what has one, else a bar."""
    section = key.partition("/")[0]
    is_curve = section in CURVES
    chart = {
        "uuid": _id(key),
        "type": "LINE" if is_curve else "BAR",
        "metricSectionId": _id(section),
        "metricKey": key,
        "displayName": key,
        "runsCountToCompare": MOST_RUNS,
        "isGenerated": True,
        "deleted": False,
    }
    return chart | _curve(key) if is_curve else chart


def _curve(key: str) -> dict[str, Any]:
    return {
        "selectedMetricKeys": [key],
        "lineSmoothness": 0,
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _id(name: str) -> str:
    """An identifier made from a name, so that the view is the same each time it is written."""
    return uuid5(NAMESPACE_URL, f"xent-bench/{name}").hex
