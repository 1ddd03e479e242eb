"""A view of an experiment that MLflow's UI opens by an address: runs grouped by loss.

MLflow 3 keeps the views that people share as tags of the experiment: the state of the page as JSON,
deflated, in base64. The form is not documented and was read off what the UI writes; an MLflow that
does not know it shows its usual page.
"""

import base64
import json
import time
import zlib
from typing import Any
from uuid import NAMESPACE_URL, uuid5

KEY = "losses"
TAG = f"mlflow.sharedViewState.{KEY}"
BARS = {
    "test, as trained": ("test/top1", "test/nll", "test/ece", "test/brier"),
    "test_ts, after temperature scaling": ("test_ts/nll", "test_ts/ece", "test_ts/brier"),
}
LINES = {"val, after each epoch": ("val/nll", "val/top1", "val/ece", "train/loss")}
COLUMNS = ("test/top1", "test/nll", "test_ts/nll", "test/ece", "test_ts/ece", "val/top1")
PARAMS = ("loss", "seed", "optimizer.lr")
MOST_RUNS = 20  # a chart; the UI begins with ten
TRAINED = "params.loss LIKE '%'"  # no report


def view_tag(now: float | None = None) -> str:
    """The tag's value; at a time in seconds, now."""
    at = int(1000 * (time.time() if now is None else now))
    state = base64.b64encode(zlib.compress(json.dumps(_state()).encode())).decode()
    view = {"name": "Losses", "createdAt": at, "updatedAt": at, "state": f"deflate;{state}"}
    return json.dumps(view)


def view_address(experiment_id: str, *, table: bool = False) -> str:
    """Behind the address of a server."""
    mode = "" if table else "&compareRunsMode=CHART"
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}{mode}"


def description(experiment_id: str, text: str = "", report: str = "") -> str:
    """What the experiment's page says, in Markdown."""
    links = [f"[Runs by loss]({view_address(experiment_id)})"]
    links += [f"[The report]({report})"] if report else []
    return "\n\n".join(filter(None, [text, " · ".join(links)]))


def _state() -> dict[str, Any]:
    sections = [*BARS, *LINES]
    charts = [_bar(section, key) for section in BARS for key in BARS[section]]
    charts += [_line(section, key) for section in LINES for key in LINES[section]]
    columns = [f"params.`{key}`" for key in PARAMS] + [f"metrics.`{key}`" for key in COLUMNS]
    group = {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "param", "groupByData": "loss"}],
    }
    return {
        "searchFilter": TRAINED,
        "orderByKey": "metrics.`test_ts/nll`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "SHOWALL",
        "runsVisibilityMap": {},
        "groupBy": group,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "compareRunCharts": charts,
        "compareRunSections": [
            {"uuid": _id(name), "name": name, "display": True, "isReordered": False}
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


def _bar(section: str, key: str) -> dict[str, Any]:
    return _chart(section, key, "BAR") | {"metricKey": key}


def _line(section: str, key: str) -> dict[str, Any]:
    return _chart(section, key, "LINE") | {
        "metricKey": key,
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


def _chart(section: str, key: str, kind: str) -> dict[str, Any]:
    return {
        "uuid": _id(f"{section}/{key}"),
        "type": kind,
        "metricSectionId": _id(section),
        "displayName": key,
        "runsCountToCompare": MOST_RUNS,
        "isGenerated": False,
        "deleted": False,
    }


def _id(name: str) -> str:
    """The same for a name, so that the view does not change from one time to the next."""
    return uuid5(NAMESPACE_URL, f"xent-bench/{name}").hex
