"""Runs side by side: each net computes by itself, as it does where it is trained alone."""

from collections.abc import Sequence

from xent_bench.randomness import generator_states, set_generator_states
from xent_bench.together.learner import Learner
from xent_bench.together.optimisation import Failed
from xent_bench.together.seed_batches import SeedBatch


class SideBySide:
    """Computes gradients net by net; what is shared is the batch, and the optimizer's step."""

    words = "side by side"

    def __init__(self, learners: Sequence[Learner], *, draws: bool) -> None:
        """`draws` says whether a part of a run draws from torch's generators, as dropout does."""
        self.learners, self.draws = list(learners), draws

    def compute_gradients(self, batches: Sequence[SeedBatch], failed: Failed) -> None:
        """Add the gradients of a minibatch, and keep its losses."""
        for learner in self.learners:
            images, targets, weights = batches[learner.seed_place]
            classifier = learner.classifier
            if self.draws and learner.generators is not None:
                set_generator_states(learner.generators, classifier.device)
            try:
                classifier.compute_gradient(images, targets[learner.kind_place], *weights)
            except (Exception, SystemExit) as error:
                failed(learner, error, "loss")
            if self.draws:
                learner.generators = generator_states(classifier.device)
