"""Chart of the recall of each class, from the largest class of train to the smallest."""

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from xent_bench.comparison.evidence import ClassRecalls, Evidence
from xent_bench.metrics.accuracy import PerClass
from xent_bench.report.charts.band import draw_band
from xent_bench.report.charts.style import Colours, axis, in_panels

MOST_POINTS = 25  # with more classes, each point is the mean of neighbours in the order of size
LONGEST = 14  # letters of a class's name
READINGS = {"test": "as trained", "test_pc": "after prior correction"}


class Points(NamedTuple):
    """The points of the x axis: their classes, and a text on each."""

    members: list[np.ndarray]  # numbers of classes
    texts: list[str]


def class_sizes(evidence: Evidence, colours: Colours) -> go.Figure | None:
    """Draw recall by class size: the mean over seeds, in a band from the lowest to the highest."""
    if evidence.recalls is None:
        return None
    prefixes = [prefix for prefix in READINGS if prefix in evidence.recalls.by_prefix]
    points = _points(evidence.recalls)
    figure = go.Figure()
    for place, prefix in enumerate(prefixes):
        for label, recalls in evidence.recalls.by_prefix[prefix].items():
            values = 100 * np.stack(
                [_mean(recalls[:, members]) for members in points.members], axis=1
            )
            defined = np.flatnonzero(~np.isnan(values).any(axis=0))
            draw_band(
                figure,
                defined,
                values[:, defined],
                label,
                colours[label],
                place,
                hover="%{customdata}: %{y:.1f} %",
                named=place == 0,
                texts=[points.texts[int(point)] for point in defined],
            )
    for place in range(len(prefixes)):
        figure.layout[axis(place, "y")] = {"range": [0, 102]}
        figure.layout[axis(place, "x")] = {
            "tickvals": list(range(len(points.texts))),
            "ticktext": points.texts,
            "tickangle": -45,
        }
    titles = [f"recall (%), {READINGS[prefix]}" for prefix in prefixes]
    return in_panels(figure, titles, 240, stack=len(prefixes), least=100_000, below=95)


def _points(recalls: ClassRecalls) -> Points:
    order = np.argsort(-recalls.train_counts, kind="stable")
    members = np.array_split(order, min(len(order), MOST_POINTS))
    if len(members) == len(order):
        texts = [
            f"{_short(recalls.classes[place])} ({recalls.train_counts[place]:,.0f})"
            for place in order
        ]
        return Points(members, texts)
    sizes = [recalls.train_counts[group] for group in members]
    return Points(members, [_range(size) for size in sizes])


def _range(sizes: PerClass) -> str:
    """Numbers of images in train, from the largest class to the smallest: '500 to 420', or '5'."""
    ends = dict.fromkeys(f"{size:,.0f}" for size in (sizes.max(), sizes.min()))
    return " to ".join(ends)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the classes of a point for each run, without those that test has no image of."""
    is_seen = ~np.isnan(values).all(axis=0)
    if not is_seen.any():
        return np.full(len(values), np.nan)
    mean: np.ndarray = values[:, is_seen].mean(axis=1)
    return mean


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
