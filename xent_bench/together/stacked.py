"""Runs whose nets are stacked: one call of each layer and of each loss for many runs."""

import math
from collections.abc import Sequence
from itertools import groupby

import torch

from xent_bench.randomness import generator_states
from xent_bench.together.learner import Learner
from xent_bench.together.loss_slices import LossSlices
from xent_bench.together.optimisation import Failed
from xent_bench.together.seed_batches import SeedBatch
from xent_bench.together.stacked_nets import MaskShapes, StackedNets


class Stacked:
    """Computes the gradients of all runs at once; learners with one seed stand side by side."""

    words = "stacked"

    def __init__(self, learners: Sequence[Learner], masks: MaskShapes) -> None:
        """Stack the learners' nets, whose weights are views of the stacked ones from now on."""
        self.learners, self.masks = list(learners), masks
        self.places = [place for place, _ in groupby(learners, lambda one: one.seed_place)]
        counts = [len(list(same)) for _, same in groupby(learners, lambda one: one.seed_place)]
        nets = [learner.classifier.net for learner in learners]
        self.nets = StackedNets(nets, counts, math.prod(learners[0].built.data.shape))
        self.nets.share_memory()
        self.losses = LossSlices(learners)

    def compute_gradients(self, batches: Sequence[SeedBatch], failed: Failed) -> None:
        """Set the gradients of a minibatch, and keep its losses."""
        images = [batches[place].images for place in self.places]
        outputs = self.nets.outputs(images, self._masks())
        gradient = self.losses.gradients(outputs.detach(), batches, failed)
        torch.autograd.backward(outputs, gradient)
        for weight, of_weight in self.nets.gradients():
            weight.grad = of_weight

    def _masks(self) -> list[dict[str, torch.Tensor]]:
        """The masks of dropout for each seed; runs of one seed draw the same."""
        masks: list[dict[str, torch.Tensor]] = []
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
