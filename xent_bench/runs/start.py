"""The lines that the start of a run prints: its images, its setting, and the machine."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from xent_bench.runs.begun import Unfinished, load_begun
from xent_bench.runs.data_account import DataAccount, account_lines, load_account

SHOWN = (
    *("model", "epochs", "batch_size"),
    *("optimizer", "optimizer.lr", "optimizer.weight_decay", "optimizer.decay_bias_and_norm"),
    *("optimizer.backbone_lr", "optimizer.layer_decay"),
)
FIT, TRAINED = "pretrained_fit", "trained_weights"  # tags of a run
# keys that are among the parameters of a run only where they do something
IF_SET = ("accumulate", "clip_norm", "ema", "choose", "patience", "augmentation.", "model.")
CONDITIONS = ("noise", "imbalance", "train_fraction", "target")


def start_lines(
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    account: DataAccount,
    varied: Collection[str] = (),
) -> list[str]:
    """The images in a few lines, then parameters as they are typed, the hardware, and the weights.

    Of weights there are lines where they begin with a file's, or where only some are trained.
    Parameters in `varied` are left out: a sweep has several values of them.
    """
    chosen = dict.fromkeys(
        [*SHOWN, *(key for key in params if key.startswith((*CONDITIONS, *IF_SET)))]
    )
    typed = [f"{key}={params[key]}" for key in chosen if key in params and key not in varied]
    precision = params.get("precision", "fp32")
    typed += [f"precision={precision}"] * (precision != "fp32" and "precision" not in varied)
    lines = account_lines(str(params.get("data")), account)
    lines.append(f"  {' '.join(typed)}; {tags['hardware']}")
    lines += [f"  weights: {tags.get(FIT)}"] * (FIT in tags)
    lines += [f"  {tags.get(TRAINED)} weights are trained"] * (TRAINED in tags)
    return lines


def introduction(folder: Path, varied: Collection[str]) -> tuple[str, list[str]] | None:
    """The name of a run's data and its start lines, read from its folder; None if not yet there."""
    account = load_account(folder)
    begun = _begun(folder)
    if account is None or begun is None or "hardware" not in begun.tags:
        return None
    data = [f"{key}={value}" for key, value in begun.params.items() if key.startswith("data")]
    return " ".join(data), start_lines(begun.params, begun.tags, account, varied)


def _begun(folder: Path) -> Unfinished | None:
    try:
        return load_begun(folder)
    except ValueError:
        return None
