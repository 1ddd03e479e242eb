"""Scores of val after an epoch, from all its outputs; and the refusal of numbers that are none."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from xent_bench.failures import Diverged
from xent_bench.links import BoundLink
from xent_bench.metrics.score import score
from xent_bench.runs.predictions import predicted
from xent_bench.types import Index, Logits, PerExample

ADVICE = "a smaller optimizer.lr may help"


class Seen(NamedTuple):
    """Outputs, labels and ids of all examples of a split."""

    logits: Logits
    labels: Tensor  # classes, or the rows of soft labels
    ids: Index


def val_scores(
    seen: Seen,
    expected: Index,
    link: BoundLink,
    loss: Callable[[Logits, Tensor], PerExample],
    encode: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """The mean trained loss and every reported metric; `expected` are the ids of the split."""
    arrays = (part.cpu().numpy() for part in (seen.logits, seen.labels, seen.ids, expected))
    val = predicted("val", *arrays)
    scores = score(
        val.outputs, val.target, link
    )  # before the loss, which may write into its outputs
    val_loss = loss(seen.logits, encode(seen.labels)).mean().item()
    return {"val/loss": val_loss} | {f"val/{key}": value for key, value in scores.items()}


def refuse_infinite_losses(losses: Tensor, epoch: int) -> None:
    """Raise Diverged at the first step of an epoch, counted from 0, whose loss is not finite."""
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        step = int(bad[0])
        raise Diverged(
            f"the loss became {losses[step].item()} in epoch {epoch + 1}, step {step + 1}: {ADVICE}"
        )


def refuse_overflow(error: BaseException, when: str) -> None:
    """Raise Diverged if the error is that of a step too large for a weight; return if not."""
    if isinstance(error, RuntimeError) and "without overflow" in str(error):
        raise Diverged(f"the optimizer's step became infinite {when}: {ADVICE}") from error


def refuse_infinite_outputs(outputs: Logits, split: str, epoch: int) -> None:
    """Raise Diverged if an output on a split, after an epoch counted from 0, is not finite."""
    if not bool(outputs.isfinite().all()):
        raise Diverged(f"outputs on {split} stopped being finite in epoch {epoch + 1}: {ADVICE}")
