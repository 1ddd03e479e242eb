"""Losses of a group: each is evaluated once, on the outputs of all runs that train with it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xent_bench.together.learner import Learner
from xent_bench.together.optimisation import Failed
from xent_bench.together.seed_batches import SeedBatch

OURS = "xent_bench.losses."


class Slice(NamedTuple):
    """Runs that train with one loss: their places in the group, and the same on the device."""

    places: list[int]
    rows: Tensor  # int64 (runs,)


class LossSlices:
    """The slices of a group's outputs that one loss reads.

    Our losses treat each example by itself, so that the value of an example does not depend on the
    others in the call. A loss of a user's own is called for each run.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        """Put learners with one loss, its hyper-parameters included, into one slice."""
        self.learners = learners
        alike: dict[Any, list[int]] = {}
        for place, learner in enumerate(learners):
            alike.setdefault(_key(learner.classifier.loss, place), []).append(place)
        # on the device from the start: to copy an index in each step would wait for the GPU
        device = learners[0].classifier.device
        self.slices = [Slice(same, torch.tensor(same, device=device)) for same in alike.values()]

    def gradients(
        self, outputs: Float[Tensor, "runs n c"], batches: Sequence[SeedBatch], failed: Failed
    ) -> Float[Tensor, "runs n c"]:
        """The gradient of each run's mean loss with respect to its outputs.

        It is 0 for a run whose loss raised an error, of which `failed` is told. The runs keep the
        losses of all examples.
        """
        result = torch.zeros_like(outputs)
        for part in self.slices:
            try:
                self._add(result, outputs, part, batches)
            except (Exception, SystemExit) as error:
                self._one_by_one(result, outputs, part, batches, failed, error)
        return result

    def values_and_gradient(
        self, outputs: Float[Tensor, "runs n c"], batches: Sequence[SeedBatch]
    ) -> tuple[list[Tensor], Float[Tensor, "runs n c"]]:
        """The losses of each slice, (runs of it * n,), and the gradient as `gradients` returns it.

        Nothing is kept, and an error is raised as it is.
        """
        values, result = [], torch.zeros_like(outputs)
        for part in self.slices:
            value, gradient = self._evaluated(outputs, part, batches)
            values.append(value)
            result.index_copy_(0, part.rows, gradient)
        return values, result

    def keep(self, part: Slice, values: Tensor) -> None:
        """Keep the losses of a slice, (runs of it * n,), as those of a step of its runs."""
        for place, losses in zip(part.places, values.view(len(part.places), -1), strict=True):
            classifier = self.learners[place].classifier
            classifier.train_losses.append(
                classifier.block.put(len(classifier.train_losses), losses)
            )

    def _add(
        self, result: Tensor, outputs: Tensor, part: Slice, batches: Sequence[SeedBatch]
    ) -> None:
        """Evaluate the loss of a slice, write its part of `result`, and keep the losses."""
        values, gradient = self._evaluated(outputs, part, batches)
        self.keep(part, values)
        result.index_copy_(0, part.rows, gradient)

    def _evaluated(
        self, outputs: Tensor, part: Slice, batches: Sequence[SeedBatch]
    ) -> tuple[Tensor, Tensor]:
        """The losses of a slice, (runs of it * n,), and the gradients of their means by outputs."""
        runs = [self.learners[place] for place in part.places]
        logits = outputs.index_select(0, part.rows).flatten(0, 1).requires_grad_()
        seen = [batches[run.seed_place] for run in runs]
        pairs = zip(runs, seen, strict=True)
        target = torch.cat([batch.targets[run.kind_place] for run, batch in pairs])
        value = runs[0].classifier.loss(logits, target)
        share = runs[0].classifier.mean_weights
        of_mean = torch.cat(
            [batch.weights[0] * share if batch.weights else share for batch in seen]
        )
        gradient: Tensor
        (gradient,) = torch.autograd.grad(value, logits, of_mean)
        return value.detach(), gradient.view(len(runs), len(share), -1)

    def _one_by_one(
        self,
        result: Tensor,
        outputs: Tensor,
        part: Slice,
        batches: Sequence[SeedBatch],
        failed: Failed,
        error: BaseException,
    ) -> None:
        """Find out whose loss it was that raised an error."""
        if len(part.places) == 1:
            failed(self.learners[part.places[0]], error, "loss")
            return
        for number, place in enumerate(part.places):
            try:
                one = Slice([place], part.rows[number : number + 1])
                self._add(result, outputs, one, batches)
            except (Exception, SystemExit) as its_error:
                failed(self.learners[place], its_error, "loss")


def is_ours(loss: Callable[..., Any]) -> bool:
    """Whether a loss is one of this package's, which are functions of each example alone."""
    function = loss.func if isinstance(loss, partial) else loss
    return function.__module__.startswith(OURS)


def _key(loss: Callable[..., Any], place: int) -> Any:
    """A key that is equal for losses of ours that are one function with the same values.

    Another loss has its learner's `place`, and so a key of its own.
    """
    if not isinstance(loss, partial) or not is_ours(loss):
        return place
    values = tuple(
        (name, tuple(value.tolist()) if isinstance(value, Tensor) else repr(value))
        for name, value in sorted(loss.keywords.items())
    )
    return loss.func, values
