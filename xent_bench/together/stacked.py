"""Runs whose nets are stacked: one call of each layer and of each loss for many runs."""

import math
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor

from xent_bench.failures import raise_fault
from xent_bench.randomness import generator_states
from xent_bench.together.learner import Learner
from xent_bench.together.loss_slices import LossSlices
from xent_bench.together.optimisation import Failed
from xent_bench.together.recorded import Recorded
from xent_bench.together.seed_batches import SeedBatch
from xent_bench.together.stacked_nets import MaskShapes, StackedNets

CLOSE = 1e-4  # relative distance between what is recorded and what is computed anew

Masks = Sequence[Mapping[str, Tensor]]  # of dropout, for each seed by the names of layers


class Stacked:
    """Computes the gradients of all runs at once; learners with one seed stand side by side."""

    def __init__(
        self,
        learners: Sequence[Learner],
        masks: MaskShapes,
        batches: Sequence[SeedBatch] | None = None,
    ) -> None:
        """Stack the learners' nets, whose weights are views of the stacked ones from now on.

        With a minibatch of each seed, the computation is recorded as a CUDA graph, if it can be.
        """
        self.learners, self.masks = list(learners), masks
        self.places = [place for place, _ in groupby(learners, lambda one: one.seed_place)]
        counts = [len(list(same)) for _, same in groupby(learners, lambda one: one.seed_place)]
        nets = [learner.classifier.net for learner in learners]
        self.nets = StackedNets(nets, counts, math.prod(learners[0].built.data.shape))
        self.nets.share_memory()
        self.losses = LossSlices(learners)
        self.recorded = None if batches is None else self._recorded(batches)

    @property
    def words(self) -> str:
        """How the group computes, for the tags of its runs."""
        is_graph = self.recorded is not None and self.recorded.graph is not None
        return "stacked, as a CUDA graph" if is_graph else "stacked"

    def compute_gradients(self, batches: Sequence[SeedBatch], failed: Failed) -> None:
        """Set the gradients of a minibatch, and keep its losses."""
        masks = self._masks()
        if self.recorded is None:
            outputs = self._outputs(batches, masks)
            gradient = self.losses.gradients(outputs.detach(), batches, failed)
            torch.autograd.backward(outputs, gradient)
            stacked = self.nets.gradients()
        else:
            values = self.recorded(_tensors(batches, masks))
            stacked = values[len(self.losses.slices) :]
            for part, value in zip(self.losses.slices, values, strict=False):
                self.losses.keep(part, value.clone())  # the next step overwrites it
        for weight, gradient in self.nets.of_each_net(stacked):
            weight.grad = gradient

    def _outputs(self, batches: Sequence[SeedBatch], masks: Masks) -> Tensor:
        return self.nets.outputs([batches[place].images for place in self.places], masks)

    def _recorded(self, batches: Sequence[SeedBatch]) -> Recorded | None:
        """Record losses and stacked gradients; None, and a line, where that cannot be done.

        What is recorded has to give what is computed without it.
        """
        kept = [
            SeedBatch(
                batch.images.clone(),
                tuple(target.clone() for target in batch.targets),
                tuple(weights.clone() for weights in batch.weights),
            )
            for batch in batches
        ]
        masks = [
            {name: torch.ones_like(like) for name, _, like in self.masks.calls} for _ in self.places
        ]
        statistics = [(buffer, buffer.clone()) for buffer in self.nets.buffers.values()]

        def compute() -> list[Tensor]:
            outputs = self._outputs(kept, masks)
            values, gradient = self.losses.values_and_gradient(outputs.detach(), kept)
            torch.autograd.backward(outputs, gradient)
            return [*values, *self.nets.gradients()]

        try:
            expected = compute()
            for buffer, value in statistics:
                buffer.copy_(value)
            recorded = Recorded(compute, _tensors(kept, masks))
            for buffer, value in statistics:
                buffer.copy_(value)
            pairs = zip(recorded(_tensors(kept, masks)), expected, strict=True)
            if not all(_is_close(one, other) for one, other in pairs):
                raise RuntimeError("it gives other values")
        except Exception as error:  # whatever CUDA says of a computation that it cannot record
            raise_fault(error)
            reason = " ".join(str(error).split())[:200]
            print(f"a step is not recorded as a CUDA graph: {reason}", file=sys.stderr)
            return None
        finally:
            for buffer, value in statistics:
                buffer.copy_(value)
        return recorded

    def _masks(self) -> list[dict[str, Tensor]]:
        """The masks of dropout for each seed; runs of one seed draw the same."""
        masks: list[dict[str, Tensor]] = []
        for _, same in groupby(self.learners, lambda one: one.seed_place):
            learners = list(same)
            if not self.masks.calls:
                masks.append({})
                continue
            states, device = learners[0].generators, learners[0].classifier.device
            assert states is not None
            masks.append(self.masks.draw(states, device))
            after = generator_states(device)
            for learner in learners:
                learner.generators = after
        return masks


def _tensors(batches: Sequence[SeedBatch], masks: Masks) -> list[Tensor]:
    """All tensors of the minibatches and masks, in one order."""
    of_batches = (t for batch in batches for t in (batch.images, *batch.targets, *batch.weights))
    return [*of_batches, *(mask for of_seed in masks for mask in of_seed.values())]


def _is_close(one: Tensor, other: Tensor) -> bool:
    scale = float(other.abs().max()) or 1.0
    return float((one - other).abs().max()) <= CLOSE * scale
