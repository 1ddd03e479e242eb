"""The LightningModule: a net, a loss, an optimizer and a schedule; nothing of theirs by name."""

import time
from collections.abc import Callable
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from xent_bench.curves import SECONDS
from xent_bench.data.batches import Batches
from xent_bench.failures import Diverged
from xent_bench.links import BoundLink
from xent_bench.metrics.score import score
from xent_bench.predictions import predicted
from xent_bench.randomness import derived_seed
from xent_bench.types import Index, Logits, PerExample, Pixels

ADVICE = "a smaller optimizer.lr may help"
CHECK_EVERY = 500  # steps


class Classifier(LightningModule):
    """Trains on (images, target as the loss wants it); validates on these with the true class and
    the id of each example.
    """

    def __init__(
        self,
        net: nn.Module,
        loss: Callable[[Logits, Tensor], PerExample],
        link: BoundLink,
        optimizer: Callable[[nn.Module], Optimizer],
        factor: Callable[[int], float],
        seed: int,
    ) -> None:
        """`factor` multiplies the learning rate at a step."""
        super().__init__()
        self.net, self.loss, self.link = net, loss, link
        self.optimizer, self.factor, self.seed = optimizer, factor, seed
        self.train_losses: list[Tensor] = []
        self.val_outputs: list[tuple[Logits, Tensor, Index, Index]] = []

    def configure_optimizers(self) -> Any:
        """The schedule moves at every step."""
        optimizer = self.optimizer(self.net)
        schedule = {"scheduler": LambdaLR(optimizer, self.factor), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_epoch_start(self) -> None:
        """Give dropout its own randomness in each epoch, so that a resumed run draws the same."""
        self.epoch_start = time.monotonic()
        torch.manual_seed(derived_seed(self.seed, "dropout", self.current_epoch))

    def training_step(self, batch: tuple[Pixels, Tensor]) -> Tensor:
        """Nothing but arithmetic: what is logged stays on the device until the epoch's end."""
        images, target = batch
        loss = self.per_example(self.net(images), target).mean()
        self.train_losses.append(loss.detach())
        if len(self.train_losses) % CHECK_EVERY == 0:  # to look is to wait for the GPU
            self._refuse_divergence()
        return loss

    def validation_step(self, batch: tuple[Pixels, Tensor, Index, Index]) -> None:
        """Keep the outputs: a metric is a function of the whole split."""
        images, *known = batch
        self.val_outputs.append((self.net(images).float(), *known))

    def on_validation_epoch_end(self) -> None:
        """Write one point of each curve; step 1 is the end of the first epoch."""
        parts = zip(*self.val_outputs, strict=True)
        logits, target, index, ids = (torch.cat(part) for part in parts)
        self.val_outputs.clear()
        train_loss = self._mean_train_loss()
        if not bool(logits.isfinite().all()):
            raise Diverged(
                f"outputs on val stopped being finite in epoch {self.current_epoch + 1}: {ADVICE}"
            )
        expected = cast(Batches, self.trainer.val_dataloaders).ids
        arrays = (part.cpu().numpy() for part in (logits, index, ids, expected))
        val = predicted("val", *arrays)
        scores = score(val.outputs, val.target, self.link)
        val_loss = self.per_example(logits, target).mean().item()
        curves = {"train/loss": train_loss, "val/loss": val_loss}
        curves |= {f"val/{key}": value for key, value in scores.items()}
        curves[SECONDS] = time.monotonic() - self.epoch_start  # the GPU is done: it was read from
        assert self.logger is not None
        self.logger.log_metrics(curves, step=self.current_epoch + 1)

    def predict_step(self, batch: tuple[Pixels, Tensor, Index, Index]) -> tuple[Tensor, ...]:
        """Outputs in float32, true class and id of each example."""
        images, _, index, ids = batch
        return self.net(images).float(), index, ids

    def per_example(self, logits: Logits, target: Tensor) -> PerExample:
        """The loss of each example, in float32 whatever precision the net runs in."""
        with torch.autocast(logits.device.type, enabled=False):
            return self.loss(logits.float(), target)

    def _mean_train_loss(self) -> float:
        self._refuse_divergence()
        mean = torch.stack(self.train_losses).double().mean().item()
        self.train_losses.clear()
        return mean

    def _refuse_divergence(self) -> None:
        losses = torch.stack(self.train_losses).cpu()
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            step = int(bad[0])
            raise Diverged(
                f"the loss became {losses[step].item()} in epoch {self.current_epoch + 1}, "
                f"step {step + 1}: {ADVICE}"
            )
