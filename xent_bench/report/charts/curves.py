"""Charts of the course of training: metrics on val, and on noisy labels, after each epoch."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from xent_bench.comparison.evidence import Evidence
from xent_bench.metrics.reported import CORRECTED, KEPT_LABELS, MEMORISED
from xent_bench.report.charts.band import draw_band
from xent_bench.report.charts.style import Colours, axis, in_panels

SHARES = ("/top1", "/memorised")  # metrics that are shown in per cent


def curves(evidence: Evidence, colours: Colours) -> go.Figure | None:
    """Draw val NLL and top-1 after each epoch: the mean over seeds, in a band of all seeds."""
    titles = {"val/nll": "val NLL, as trained", "val/top1": "val top-1 (%)"}
    # the legend is that of the metric that every loss has
    return _panels(evidence, colours, titles, named="val/top1") if evidence.curves else None


def noise_curves(evidence: Evidence, colours: Colours) -> go.Figure | None:
    """Draw what is learnt from noisy labels, and what by heart; None where no label is noisy."""
    titles = {
        KEPT_LABELS: "kept labels: learnt (%)",
        MEMORISED: "wrong: memorised (%)",
        CORRECTED: "wrong: put right (%)",
    }
    if not any(key in by_metric for by_metric in evidence.curves.values() for key in titles):
        return None
    return _panels(evidence, colours, titles, named=KEPT_LABELS)


def _panels(
    evidence: Evidence, colours: Colours, titles: Mapping[str, str], *, named: str
) -> go.Figure:
    """Draw a panel for each metric; the legend lists the losses that have the one `named`."""
    figure = go.Figure()
    for label, by_metric in evidence.curves.items():
        for place, key in enumerate(titles):
            if key in by_metric and np.isfinite(by_metric[key]).all():
                values = by_metric[key] * (100 if key.endswith(SHARES) else 1)
                draw_band(
                    figure,
                    np.arange(1, values.shape[1] + 1),
                    values,
                    label,
                    colours[label],
                    place,
                    hover="epoch %{x}: %{y:.4g}",
                    named=key == named,
                )
    for place in range(len(titles)):
        figure.layout[axis(place, "x")] = {"title": {"text": "epoch"}}
    return in_panels(figure, titles.values(), 320)
