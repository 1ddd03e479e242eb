"""Scores of val after an epoch, from all its outputs; and the refusal of numbers that are none."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from xent_bench.failures import Diverged
from xent_bench.links import BoundLink
from xent_bench.metrics.score import score
from xent_bench.process.gather import gathered_columns
from xent_bench.runs.predictions import predicted
from xent_bench.training.advice import ADVICE
from xent_bench.types import Index, Logits, PerExample


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


def finite_losses(losses: Sequence[PerExample], epoch: int) -> PerExample:
    """The mean loss of each step of an epoch, of which these are the losses so far.

    Diverged if one of them is not finite.
    """
    means = gathered_columns(torch.stack(list(losses))).mean(dim=1).cpu()
    bad = (~means.isfinite()).nonzero()
    if len(bad):
        step = int(bad[0])
        raise Diverged(
            f"the loss became {means[step].item()} in epoch {epoch + 1}, step {step + 1}: {ADVICE}"
        )
    return means


def refuse_infinite_outputs(outputs: Logits, split: str, epoch: int) -> None:
    """Raise Diverged if an output on a split, after an epoch counted from 0, is not finite."""
    if not bool(outputs.isfinite().all()):
        raise Diverged(f"outputs on {split} stopped being finite in epoch {epoch + 1}: {ADVICE}")
