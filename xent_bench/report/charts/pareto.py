"""Accuracy against calibration."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from xent_bench.comparison.compare import Comparison, Row
from xent_bench.comparison.stats import Estimate
from xent_bench.report.charts.style import GREY, LIGHT, READINGS, Colours, styled
from xent_bench.report.palette import faint

CHANCE = "test_ts_null/ece_high"


class Point(NamedTuple):
    """A loss in one reading."""

    x: Estimate  # top-1
    y: Estimate  # ECE
    reading: str


def pareto(comparison: Comparison, colours: Colours) -> go.Figure | None:
    """Accuracy against calibration; the front is of what no other choice beats in both."""
    figure = go.Figure()
    points: list[Point] = []
    for row in comparison.rows:
        own = [point for prefix in READINGS if (point := _point(row, prefix)) is not None]
        points += own
        if own:
            _add(figure, own, row.label, colours[row.label])
    if not points:
        return None
    chance = [row.estimates[CHANCE].mean for row in comparison.rows if CHANCE in row.estimates]
    if chance:
        figure.add_hrect(0, 100 * max(chance), fillcolor=LIGHT, line_width=0, layer="below")
    if comparison.unranked:
        return styled(figure, 430 + 12 * len(comparison.rows))
    front = _front([(point.x.mean, point.y.mean) for point in points])
    figure.add_scatter(
        x=[100 * x for x, _ in front],
        y=[100 * y for _, y in front],
        name="Pareto front of the means",
        mode="lines",
        line={"color": GREY, "width": 1, "shape": "hv"},
        hoverinfo="skip",
    )
    figure.update_xaxes(title="top-1 (%)")
    figure.update_yaxes(title="ECE (%), smaller is better", rangemode="tozero")
    return styled(figure, 430 + 12 * len(comparison.rows))


def _point(row: Row, reading: str) -> Point | None:
    top1, ece = row.estimates.get("test/top1"), row.estimates.get(f"{reading}/ece")
    return None if top1 is None or ece is None else Point(top1, ece, reading)


def _add(figure: go.Figure, points: Sequence[Point], label: str, colour: str) -> None:
    """A loss: as trained, after scaling, and the way between."""
    xs, ys = [point.x for point in points], [point.y for point in points]
    figure.add_scatter(
        x=[100 * each.mean for each in xs],
        y=[100 * each.mean for each in ys],
        error_x=_error(xs, colour),
        error_y=_error(ys, colour),
        name=label,
        text=[f"{label}, {READINGS[point.reading]}" for point in points],
        customdata=[(_said(point.x), _said(point.y), point.x.n) for point in points],
        hovertemplate="%{text}<br>top-1 %{customdata[0]} %<br>ECE %{customdata[1]} %"
        "<br>n=%{customdata[2]}<extra></extra>",
        mode="lines+markers",
        line={"width": 1, "dash": "dot", "color": colour},
        marker={
            "size": 9,
            "symbol": ["circle" if point.reading == "test" else "circle-open" for point in points],
        },
    )


def _error(found: Sequence[Estimate], colour: str) -> dict[str, Any]:
    halves = [100 * (each.half_width or 0) for each in found]
    return {"array": halves, "color": faint(colour, 0.45), "thickness": 1.5, "width": 0}


def _said(found: Estimate) -> str:
    half = "" if found.half_width is None else f" ± {100 * found.half_width:.2f}"
    return f"{100 * found.mean:.2f}{half}"


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that none beats: from the right, each that is lower than all before."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (-point[0], point[1])):
        if not front or y < front[-1][1]:
            front.append((x, y))
    return front
