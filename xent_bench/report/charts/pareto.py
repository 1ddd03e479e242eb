"""Chart of accuracy against calibration, with its Pareto front."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.row import Row
from xent_bench.comparison.stats import Estimate
from xent_bench.palette import faint
from xent_bench.report.bounds import within_bounds
from xent_bench.report.charts.style import GREY, LIGHT, READING_NAMES, Colours, styled

CHANCE = "test_ts_null/ece_high"  # largest ECE that a calibrated net shows by chance


class Point(NamedTuple):
    """A loss as trained or after scaling."""

    x: Estimate  # top-1
    y: Estimate  # ECE
    reading: str  # test or test_ts


def pareto(comparison: Comparison, colours: Colours) -> go.Figure | None:
    """Draw top-1 against ECE; on the front are points that no other point beats in both."""
    figure = go.Figure()
    points: list[Point] = []
    for row in comparison.rows:
        of_loss = [point for prefix in READING_NAMES if (point := _point(row, prefix)) is not None]
        points += of_loss
        if of_loss:
            _add(figure, of_loss, row.label, colours[row.label])
    if not points:
        return None
    chance = [row.estimates[CHANCE].mean for row in comparison.rows if CHANCE in row.estimates]
    if chance:
        figure.add_hrect(0, 100 * max(chance), fillcolor=LIGHT, line_width=0, layer="below")
    if comparison.unranked:
        return styled(figure, 460)
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
    return styled(figure, 460)


def _point(row: Row, reading: str) -> Point | None:
    top1, ece = row.estimates.get("test/top1"), row.estimates.get(f"{reading}/ece")
    return None if top1 is None or ece is None else Point(top1, ece, reading)


def _add(figure: go.Figure, points: Sequence[Point], label: str, colour: str) -> None:
    """Draw one loss: its point as trained, its point after scaling, and a line between them."""
    xs, ys = [point.x for point in points], [point.y for point in points]
    figure.add_scatter(
        x=[100 * x.mean for x in xs],
        y=[100 * y.mean for y in ys],
        error_x=_error(xs, "test/top1", colour),
        error_y=_error(ys, "test/ece", colour),
        name=label,
        text=[f"{label}, {READING_NAMES[point.reading]}" for point in points],
        customdata=[
            (_shown(point.x, "test/top1"), _shown(point.y, "test/ece"), point.x.n)
            for point in points
        ],
        hovertemplate="%{text}<br>top-1 %{customdata[0]} %<br>ECE %{customdata[1]} %"
        "<br>n=%{customdata[2]}<extra></extra>",
        mode="lines+markers",
        line={"width": 1, "dash": "dot", "color": colour},
        marker={
            "size": 9,
            "symbol": ["circle" if point.reading == "test" else "circle-open" for point in points],
        },
    )


def _error(estimates: Sequence[Estimate], key: str, colour: str) -> dict[str, Any]:
    """Error bars of these estimates, in per cent, which end at 0 and at 100."""
    bars = [within_bounds(estimate, key) for estimate in estimates]
    return {
        "array": [100 * bar.up for bar in bars],
        "arrayminus": [100 * bar.down for bar in bars],
        "color": faint(colour, 0.45),
        "thickness": 1.5,
        "width": 0,
    }


def _shown(estimate: Estimate, key: str) -> str:
    """An estimate in per cent: '91.20 ± 0.35', or '99.90 +0.10 −0.35' where the interval is cut."""
    bar, mean = within_bounds(estimate, key), f"{100 * estimate.mean:.2f}"
    if bar.is_cut:
        return f"{mean} +{100 * bar.up:.2f} −{100 * bar.down:.2f}"
    return mean if estimate.half_width is None else f"{mean} ± {100 * bar.up:.2f}"


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that no other point beats: from right to left, those lower than all points before."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (-point[0], point[1])):
        if not front or y < front[-1][1]:
            front.append((x, y))
    return front
