"""Training that stopped making numbers, told with the epoch and the step."""

from torch import Tensor

from xent_bench.failures import Diverged
from xent_bench.types import Logits

ADVICE = "a smaller optimizer.lr may help"


def refuse_infinite_losses(losses: Tensor, epoch: int) -> None:
    """Of the steps of an epoch, counted from 0."""
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        step = int(bad[0])
        raise Diverged(
            f"the loss became {losses[step].item()} in epoch {epoch + 1}, step {step + 1}: {ADVICE}"
        )


def refuse_infinite_outputs(outputs: Logits, split: str, epoch: int) -> None:
    """On a split, after an epoch."""
    if not bool(outputs.isfinite().all()):
        raise Diverged(f"outputs on {split} stopped being finite in epoch {epoch + 1}: {ADVICE}")
