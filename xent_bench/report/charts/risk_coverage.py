"""Chart of risk against coverage: whether wrong answers are the least certain ones."""

import plotly.graph_objects as go

from xent_bench.comparison.evidence import COVERAGES, Evidence
from xent_bench.report.charts.style import Colours, styled


def risk_coverage(evidence: Evidence, colours: Colours) -> go.Figure | None:
    """Draw the share of errors among the most certain answers, mean over seeds.

    With a few thousand test images the lines are uneven.
    """
    figure = go.Figure()
    for label, risks in evidence.risks.items():
        figure.add_scatter(
            x=100 * COVERAGES,
            y=100 * risks,
            name=label,
            mode="lines",
            line={"color": colours[label], "width": 2},
            hovertemplate=f"{label}<br>coverage %{{x:.0f}} %<br>risk %{{y:.2f}} %<extra></extra>",
        )
    figure.update_xaxes(title="coverage: share of the answers, the most certain first (%)")
    figure.update_yaxes(title="risk: share of wrong ones (%)", rangemode="tozero")
    return styled(figure, 400) if evidence.risks else None
