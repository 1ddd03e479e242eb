"""Charts as JSON for the script of the page, which draws them for a window and a theme."""

import base64
import json
from typing import Any

import numpy as np
import plotly.graph_objects as go

DIGITS = 6  # of a number that is drawn: more cannot be seen, and a page would be half as big again


def chart_json(figure: go.Figure) -> str:
    """The traces and the layout of a figure, in a form that may stand in a script element."""
    content = figure.to_plotly_json()
    content["layout"].pop("template", None)
    return script_json(_plain(content))


def script_json(content: Any) -> str:
    """JSON in which no text can end the script element that holds it."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:
    """The value with arrays as lists, rounded, and None for what is no number."""
    if isinstance(value, dict):
        if value.keys() >= {"bdata", "dtype"}:  # plotly's form of an array
            return _plain(np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]))
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(inner) for inner in (value.tolist() if hasattr(value, "tolist") else value)]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    return value
