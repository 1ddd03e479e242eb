"""Chart of the course of training: metrics on val after each epoch."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xent_bench.comparison.evidence import Evidence
from xent_bench.palette import faint
from xent_bench.report.charts.style import Colours, styled


def curves(evidence: Evidence, colours: Colours) -> go.Figure | None:
    """Draw val NLL and top-1 after each epoch: the mean over seeds, in a band of all seeds."""
    keys = {"val/nll": "val NLL, as trained", "val/top1": "val top-1 (%)"}
    figure = make_subplots(1, 2, subplot_titles=list(keys.values()), horizontal_spacing=0.1)
    for label, by_metric in evidence.curves.items():
        for column, key in enumerate(keys, 1):
            if key in by_metric and np.isfinite(by_metric[key]).all():
                values = by_metric[key] * (100 if key == "val/top1" else 1)
                named = key == "val/top1"  # the metric that every loss has
                _band(figure, values, label, colours[label], column, named=named)
    figure.update_xaxes(title="epoch")
    styled(figure, 430)
    figure.update_layout(legend_y=1.1, margin_t=80)  # above the titles of both panels
    return figure if evidence.curves else None


def _band(
    figure: go.Figure, values: np.ndarray, label: str, colour: str, column: int, *, named: bool
) -> None:
    """Draw the curves of one loss, `values` of shape (runs, epochs): their mean and their range."""
    epochs = np.arange(1, values.shape[1] + 1)
    figure.add_scatter(
        x=np.concatenate([epochs, epochs[::-1]]),
        y=np.concatenate([values.max(axis=0), values.min(axis=0)[::-1]]),
        fill="toself",
        fillcolor=faint(colour),
        line={"width": 0},
        legendgroup=label,
        hoverinfo="skip",
        showlegend=False,
        row=1,
        col=column,
    )
    figure.add_scatter(
        x=epochs,
        y=values.mean(axis=0),
        name=label,
        mode="lines+markers",
        marker={"size": 4},
        line={"color": colour, "width": 2},
        legendgroup=label,
        showlegend=named,
        hovertemplate=f"{label}<br>epoch %{{x}}: %{{y:.4g}}<extra></extra>",
        row=1,
        col=column,
    )
