"""What a finished run is to a console: one line of scores."""

from typing import Any

from xent_bench.calibrators import PREFIXES
from xent_bench.pace import duration

LEGEND = "Scores on test: as trained → after temperature scaling."


def result_line(result: dict[str, Any], calibrator: str) -> str:
    """As trained -> after temperature scaling; and after another calibrator that is asked for."""
    metrics, prefix = result["metrics"], PREFIXES[calibrator]
    more = ""
    if calibrator != "temperature":
        nll, ece = metrics[f"{prefix}/nll"], 100 * metrics[f"{prefix}/ece"]
        more = f"  {calibrator}: NLL {nll:.3f}  ECE {ece:.2f} %"

    def pair(key: str, factor: float, form: str) -> str:
        raw, scaled = (metrics.get(f"{split}/{key}") for split in ("test", "test_ts"))
        return f"{'-' if raw is None else format(factor * raw, form):>6} →{factor * scaled:{form}}"

    return (
        f"top-1 {100 * metrics['test/top1']:6.2f} %  NLL {pair('nll', 1, '6.3f')}"
        f"  ECE {pair('ece', 100, '6.2f')} %  {duration(result['seconds']):>7}"
        f"{'  (calib leaves T open)' if metrics['test_ts/temperature_at_bound'] else ''}{more}"
    )
