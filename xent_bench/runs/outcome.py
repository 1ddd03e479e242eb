"""The outcome of a command that trains a run: its result, or how far it is where it is paused."""

from pathlib import Path
from typing import Any

from xent_bench.runs.begun import Unfinished, load_begun, paused_epoch
from xent_bench.runs.files import BEGUN, RESULT, has_result
from xent_bench.runs.result import load_run
from xent_bench.runs.val_at import val_at

SHOWN = ("val/nll", "val/top1")  # the first that a run has is shown; a hinge has no NLL


def outcome(folder: Path) -> dict[str, Any]:
    """Load the content of the run's result, or of the record of a paused run.

    A paused run has a `reason`, and as `metrics` its scores on val so far. DataError for a run that
    is neither finished nor paused.
    """
    if has_result(folder) or not (folder / BEGUN).exists():
        return load_run(folder / RESULT).content()
    begun = load_begun(folder)
    epoch = paused_epoch(begun)
    if epoch is None:
        return load_run(folder / RESULT).content()
    scores = {key: val_at(folder, epoch, key) for key in _shown(begun)}
    return begun.content() | {"metrics": {k: v for k, v in scores.items() if v is not None}}


def pause_line(content: dict[str, Any]) -> str:
    """'paused after epoch 7 of 20: val/nll 0.412'; empty for the content of a result."""
    if "reason" not in content:
        return ""
    scores = [f"{key} {value:.3f}" for key, value in content["metrics"].items()]
    return f"{content['reason']}{': ' * bool(scores)}{', '.join(scores[:1])}"


def _shown(begun: Unfinished) -> list[str]:
    """Metrics on val, first the one that chooses the run's epoch."""
    by = begun.params.get("choose_by")
    return list(dict.fromkeys([*([str(by)] if by else []), *SHOWN]))
