"""The LightningModule: trains a net with a loss, an optimizer and a schedule that it is given.

Optimisation is manual, and one call of `training_step` takes several steps of the optimizer: what
Lightning does around a call costs as much as a step of a small net.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.loggers import Logger
from pytorch_lightning.overrides.distributed import prepare_for_backward
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from xent_bench.data.batches import Batches, ShuffledBatches
from xent_bench.data.groups import Groups
from xent_bench.links import BoundLink
from xent_bench.process.gather import gathered
from xent_bench.randomness import derived_seed
from xent_bench.runs.curves import SECONDS
from xent_bench.training.averaging import averaged_copy, averaging, copy_counters
from xent_bench.training.best_epoch import BestEpoch
from xent_bench.training.first_layer import training_pass
from xent_bench.training.noise_curves import NoiseCurves
from xent_bench.training.parts_of_batch import nothing, parts_of_batch
from xent_bench.training.rates import set_rate
from xent_bench.training.user_code import blame_part, blaming, exhausted, refuse_lost_steps
from xent_bench.training.validation import Seen, finite_losses, refuse_infinite_outputs, val_scores
from xent_bench.training.within_epoch import LossBlock, WithinEpoch, keep, kept
from xent_bench.types import Index, Logits, PerExample, Pixels

CHECK_STEPS = 500  # after which the losses are checked for infinity


class Classifier(LightningModule):
    """Trains on groups of (images, target); validates on images, labels and ids."""

    mean_weights: Tensor

    def __init__(
        self,
        net: nn.Module,
        loss: Callable[[Logits, Tensor], PerExample],
        link: BoundLink,
        optimizer: Callable[[nn.Module], Optimizer],
        factor: Callable[[int], float],
        seed: int,
        *,
        groups: Groups[ShuffledBatches],
        encode: Callable[[Tensor], Tensor],
        batch_size: int,
        pixels: int = 0,
        accumulate: int = 1,
        clip_norm: float | None = None,
        bf16: bool = False,
        compile_mode: str | None = None,
        ema: float | None = None,
        best_epoch: BestEpoch | None = None,
        at_rest: Sequence[nn.Module] = (),
        noise_curves: NoiseCurves | None = None,
    ) -> None:
        """`factor` multiplies the learning rate at a step; `encode` makes targets of labels.

        `pixels` is the number of values of an image. `ema` is the decay of the weights' moving
        average, None where there is none. Modules `at_rest` stay in evaluation mode.
        """
        super().__init__()
        self.automatic_optimization = False
        self.net, self.loss, self.link = net, loss, link
        self.optimizer, self.factor, self.seed, self.groups = optimizer, factor, seed, groups
        self.encode, self.accumulate = encode, accumulate
        self.clip_norm, self.bf16 = clip_norm, bf16
        self.ema, self.best_epoch, self.at_rest = ema, best_epoch, tuple(at_rest)
        self.noise_curves = noise_curves
        with blaming("model", "when it was copied"):
            self.averaged = None if ema is None else averaged_copy(net)
        # the mean's gradient by each example's loss; to compute a mean would cost 30 us a step
        self.register_buffer("mean_weights", torch.ones(batch_size) / batch_size, persistent=False)
        self.trained = training_pass(net, pixels)
        if compile_mode:  # for training alone: other shapes of evaluation would be compiled too
            torch.compiler.reset()  # forget the graphs of an earlier run
            self.trained = torch.compile(net.forward, mode=compile_mode)
        self.train_losses: list[PerExample] = []  # one tensor for each step of the epoch
        self.block = LossBlock(groups.steps)
        self.val_outputs: list[tuple[Logits, Tensor, Index]] = []
        self.resumed: WithinEpoch | None = None
        self.remarks: tuple[str, ...] = ()  # on parts that run and may be a mistake
        self.company = 1  # runs that are trained at the same time, and share it
        self.announce: Callable[[Tensor], None] = nothing
        self.train()

    def configure_optimizers(self) -> Optimizer:
        """The optimizer, with its first learning rate kept: the schedule multiplies that."""
        optimizer = self.optimizer(self.net)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return optimizer

    def on_train_start(self) -> None:
        """Let processes that train together average their gradients while these are computed."""
        if isinstance(self.trainer.strategy.model, DistributedDataParallel):
            self.announce = partial(prepare_for_backward, self.trainer.strategy.model)

    def on_train_epoch_start(self) -> None:
        """Give dropout its own randomness in each epoch and process, the same in a resumed run."""
        self.epoch_start, self.checked = time.monotonic(), 0
        purpose = f"dropout {self.global_rank}" if self.global_rank else "dropout"
        torch.manual_seed(derived_seed(self.seed, purpose, self.current_epoch))

    def training_step(self, minibatches: Iterator[tuple[Tensor, ...]]) -> None:
        """Take a step for each minibatch; the losses stay on the device until the epoch's end.

        The weights of examples, where there are any, multiply the gradient and not these losses.
        """
        optimizer = cast(Optimizer, self.optimizers(use_pl_optimizer=False))
        parameters, average = list(self.net.parameters()), self._averaging()
        self.go_on()
        epoch = self.current_epoch * self.groups.steps
        losses = self.train_losses
        before = len(losses)
        for images, target, *importance in minibatches:
            step, part = len(losses), "schedule"
            try:  # a try costs nothing where nothing is raised
                set_rate(optimizer, self.factor(epoch + step))
                part = "loss"
                self.compute_gradient(images, target, *importance)
                if self.clip_norm is not None:
                    nn.utils.clip_grad_norm_(parameters, self.clip_norm)
                part = "optimizer"
                optimizer.step()
                optimizer.zero_grad()
                average(epoch + step)
            except (Exception, SystemExit) as error:
                self.blame(error, part, step)
                raise
        # Lightning counts steps only in its own wrapper of the optimizer, which costs 0.1 ms a step
        loop = self.trainer.fit_loop.epoch_loop.manual_optimization
        loop.optim_step_progress.increment_by(len(losses) - before)
        self.check_losses()

    def compute_gradient(self, images: Pixels, target: Tensor, *importance: Tensor) -> None:
        """Compute the gradient of a minibatch, and keep its losses."""
        values = []
        mean_weights = importance[0] * self.mean_weights if importance else self.mean_weights
        whole = (images, target, mean_weights)
        for part in parts_of_batch(whole, self.accumulate, self.announce):
            some_images, some_target, some_weights, announce = part
            outputs = self._outputs(self.trained, some_images)
            value = self.loss(outputs, some_target)
            announce(value)
            value.backward(some_weights)  # type: ignore[no-untyped-call]  # torch's
            values.append(value.detach())
        value = values[0] if len(values) == 1 else torch.cat(values)
        self.train_losses.append(self.block.put(len(self.train_losses), value))

    def blame(self, error: BaseException, part: str, step: int) -> None:
        """Note in an error which part was used in a step, counted from 0 in its epoch."""
        blame_part(error, part, self._when(step))

    def check_losses(self) -> None:
        """Raise Diverged if a loss of the last steps is not finite; looks at them now and then."""
        if len(self.train_losses) - self.checked >= CHECK_STEPS:  # looking waits for the GPU
            self.checked = len(self.train_losses)
            finite_losses(self.train_losses, self.current_epoch)

    def train(self, mode: bool = True) -> "Classifier":
        """Set the mode of the net, but for what is at rest and for averaged weights."""
        super().train(mode)
        for module in self.at_rest:
            module.training = False
        if self.averaged is not None:
            self.averaged.eval()
        return self

    def _averaging(self) -> Callable[[int], None]:
        """The update of the averaged weights after a step; it does nothing where there are none."""
        if self.averaged is None or self.ema is None:
            return nothing
        return averaging(self.averaged, self.net, self.ema)

    def validation_step(self, batch: tuple[Pixels, Tensor, Index]) -> None:
        """Keep the outputs: a metric is a function of the whole split."""
        images, labels, ids = batch
        if self.averaged is not None and not self.val_outputs:
            copy_counters(self.averaged, self.net)
        self.val_outputs.append((self.forward(images), labels, ids))

    def on_validation_epoch_end(self) -> None:
        """End the epoch, and the training if no epoch gets better."""
        val_ids = cast(Batches, self.trainer.val_dataloaders).split_ids
        self.end_epoch(val_ids, cast("Logger | None", self.logger))
        if self.best_epoch is not None:
            self.trainer.should_stop = self.best_epoch.stops

    def end_epoch(self, val_ids: Index, logger: Logger | None) -> None:
        """Write one point of each curve; step 1 is the end of the first epoch.

        `val_ids` are the images of val. Without a logger another process writes.
        """
        seen = Seen(*(gathered(torch.cat(part)) for part in zip(*self.val_outputs, strict=True)))
        self.val_outputs.clear()
        train_loss = self._mean_train_loss()
        refuse_infinite_outputs(seen.logits, "val", self.current_epoch)
        curves = {"train/loss": train_loss}
        if logger is not None:
            with blaming("loss", self._when()):
                curves |= val_scores(seen, val_ids, self.link, self.loss, self.encode)
            if self.noise_curves is not None:
                curves |= self.noise_curves.scores(self.forward, seen)
            # the GPU has finished: outputs were read from it
            curves[SECONDS] = (time.monotonic() - self.epoch_start) / self.company
            logger.log_metrics(curves, step=self.current_epoch + 1)
        if self.best_epoch is not None:
            self.best_epoch.see(curves, self.evaluated)

    @property
    def evaluated(self) -> nn.Module:
        """The net that is evaluated: that of the averaged weights, where they are averaged."""
        return self.net if self.averaged is None else self.averaged

    def use_best_epoch(self) -> None:
        """Evaluate the best epoch from now on, where one is chosen; training has ended."""
        if self.best_epoch is not None:
            self.best_epoch.use(self.evaluated)

    def predict_step(self, batch: tuple[Pixels, Tensor, Index]) -> tuple[Tensor, ...]:
        """Outputs in float32, label and id of each example."""
        images, labels, ids = batch
        return self.forward(images), labels, ids

    def forward(self, images: Pixels) -> Logits:
        """Raw outputs in float32, whatever precision the net runs in."""
        outputs = self._outputs(self.evaluated, images)
        # NumPy has no bfloat16, which a net may cast to
        return outputs.float() if outputs.dtype is torch.bfloat16 else outputs

    def _outputs(self, net: Callable[[Pixels], Logits], images: Pixels) -> Logits:
        try:
            if not self.bf16:
                return net(images)
            # Not Lightning's autocast around a whole training_step: autocast keeps its casts of the
            # weights until it ends, so the second step would use the weights of the first.
            with torch.autocast(images.device.type, torch.bfloat16):
                return net(images).float()
        except StopIteration as stop:
            raise exhausted("model", stop, self._when(len(self.train_losses))) from stop

    def _when(self, step: int = 0) -> str:
        """Say for an error which call of a part failed: `step` of the epoch, counted from 0."""
        if self.trainer.predicting:
            return "in the predictions after training"
        epoch = f"epoch {self.current_epoch + 1}"
        return (
            f"on val after {epoch}" if self.trainer.validating else f"in {epoch}, step {step + 1}"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the best epoch, and the state of an unfinished one."""
        if self.best_epoch is not None:
            self.best_epoch.keep(checkpoint)
        if self.train_losses:
            keep(checkpoint, self.train_losses, time.monotonic() - self.epoch_start)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Skip the steps that the epoch has taken; the next step restores the rest of its state."""
        if self.best_epoch is not None:
            self.best_epoch.restore(checkpoint)
            self.trainer.should_stop = self.best_epoch.stops
        self.resumed = kept(checkpoint)
        if self.resumed is not None:
            self.groups.taken = len(self.resumed.losses)

    def go_on(self) -> None:
        """Restore the state of an epoch that was interrupted, if there is one."""
        state, self.resumed = self.resumed, None
        if state is None:
            return
        self.checked = len(state.losses)
        self.train_losses = state.restored(self.groups.batches.share, self.device)
        self.epoch_start = time.monotonic() - state.seconds

    def _mean_train_loss(self) -> float:
        refuse_lost_steps(len(self.train_losses), self.groups.steps, self.current_epoch)
        mean = finite_losses(self.train_losses, self.current_epoch).double().mean().item()
        self.train_losses.clear()
        return mean
