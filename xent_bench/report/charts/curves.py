"""What val said after each epoch."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xent_bench.comparison.evidence import Evidence
from xent_bench.report.charts.style import Colours, styled
from xent_bench.report.palette import faint


def curves(evidence: Evidence, colours: Colours) -> go.Figure | None:
    """Val NLL and top-1 after each epoch: mean over seeds, and between the extremes."""
    keys = {"val/nll": "val NLL, as trained", "val/top1": "val top-1 (%)"}
    figure = make_subplots(1, 2, subplot_titles=list(keys.values()), horizontal_spacing=0.1)
    for label, found in evidence.curves.items():
        for column, key in enumerate(keys, 1):
            if key in found and np.isfinite(found[key]).all():
                values = found[key] * (100 if key == "val/top1" else 1)
                named = key == "val/top1"  # which every loss has
                _band(figure, values, label, colours[label], column, named=named)
    figure.update_xaxes(title="epoch")
    styled(figure, 430)
    figure.update_layout(legend_y=1.1, margin_t=80)  # above the titles of both
    return figure if evidence.curves else None


def _band(
    figure: go.Figure, values: np.ndarray, label: str, colour: str, column: int, *, named: bool
) -> None:
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
