"""The choice of how a group computes: nets side by side, or stacked.

Nets are stacked on a CPU only where that gives the same bits as each net alone, so that the clock,
which chooses the faster way, changes no number. A GPU is idle while small nets follow each other:
there nets are stacked wherever they can be.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from itertools import groupby
from typing import TypeAlias

import torch
from torch import Tensor, nn

from xent_bench.config.kept_state import keeps_state
from xent_bench.failures import raise_fault
from xent_bench.randomness import generator_states, set_generator_states
from xent_bench.together.learner import Learner
from xent_bench.together.loss_slices import is_ours
from xent_bench.together.seed_batches import SeedBatch
from xent_bench.together.side_by_side import SideBySide
from xent_bench.together.stacked import Stacked
from xent_bench.together.stacked_nets import MaskShapes, StackedNets
from xent_bench.training.classifier import Classifier
from xent_bench.training.first_layer import training_pass

Engine: TypeAlias = SideBySide | Stacked

TRIALS = 3  # passes of each way, by turns
CLOSE = 1e-4  # relative distance of outputs and gradients that other rounding explains


def engine_of(
    learners: Sequence[Learner], batches: Sequence[SeedBatch]
) -> Callable[[Sequence[Learner], Sequence[SeedBatch]], Engine]:
    """Choose how these learners compute, by a trial on a minibatch of each seed.

    A net that keeps state is not tried. Losses of a user's own are not called in the trial.
    Returns the function that makes the engine, for these learners or for those that are left.
    """
    first = learners[0]
    images = batches[first.seed_place].images
    draws = _may_draw(learners, batches)

    def side_by_side(some: Sequence[Learner], _: Sequence[SeedBatch]) -> Engine:
        return SideBySide(some, draws=draws)

    if len(learners) == 1 or not _can_be_stacked(first.classifier):
        return side_by_side
    if keeps_state(first.run.config.model["_target_"], in_instances=True):  # a trial would be seen
        return side_by_side
    try:
        masks = MaskShapes(first.classifier.net, images)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # vmap names layers for which it has no batched form
            trial = _Trial(learners, batches, masks)
            fits = trial.agrees()
    except Exception as error:  # whatever vmap says of a layer that it cannot stack
        raise_fault(error)
        return side_by_side

    def stacked(some: Sequence[Learner], shown: Sequence[SeedBatch]) -> Engine:
        is_recorded = some[0].run.config.machine.cuda_graph and all(
            is_ours(learner.classifier.loss)
            for learner in some  # another may read its values
        )
        return Stacked(some, masks, shown if is_recorded else None)

    ways = (stacked, side_by_side)
    if not fits:
        return side_by_side
    if trial.on_gpu:
        return stacked
    return ways[_faster([way(learners, batches) for way in ways], batches)]


def _can_be_stacked(classifier: Classifier) -> bool:
    """Whether the settings of the training allow stacked nets; a trial tells of their layers."""
    return (
        not classifier.bf16
        and classifier.accumulate == 1
        and not classifier.at_rest
        and all(weight.requires_grad for weight in classifier.net.parameters())
    )


def _may_draw(learners: Sequence[Learner], batches: Sequence[SeedBatch]) -> bool:
    """Whether the net draws from torch's generators, or a loss of a user's own might."""
    classifier = learners[0].classifier
    if any(not is_ours(learner.classifier.loss) for learner in learners):
        return True
    if keeps_state(learners[0].run.config.model["_target_"], in_instances=True):
        return True
    device = classifier.device
    before = generator_states(device)
    net = deepcopy(classifier.net).train()
    with torch.no_grad():
        net(batches[learners[0].seed_place].images)
    after = generator_states(device)
    set_generator_states(before, device)
    return any(
        old is not None and new is not None and not torch.equal(old, new)
        for old, new in zip(before, after, strict=True)
    )


def _faster(engines: Sequence[Engine], batches: Sequence[SeedBatch]) -> int:
    """The place of the engine that takes less CPU time for a minibatch; nothing of it is kept.

    A loss of a user's own, which may count its calls or print, is replaced: both ways call it
    equally often.
    """
    seconds = [math.inf] * len(engines)
    for _ in range(TRIALS):
        for number, engine in enumerate(engines):
            with _nothing_kept(engine.learners), _stand_ins(engine.learners):
                start = time.process_time()
                engine.compute_gradients(batches, _ignore)
                seconds[number] = min(seconds[number], time.process_time() - start)
    return seconds.index(min(seconds))


@contextmanager
def _nothing_kept(learners: Sequence[Learner]) -> Iterator[None]:
    """A context whose passes leave losses, statistics, gradients and generators as they were."""
    before = generator_states(learners[0].classifier.device)
    states = [
        (
            learner,
            len(learner.classifier.train_losses),
            [(buffer, buffer.clone()) for buffer in learner.classifier.net.buffers()],
            learner.generators,
        )
        for learner in learners
    ]
    yield
    for learner, steps, buffers, generators in states:
        del learner.classifier.train_losses[steps:]
        learner.generators = generators
        for buffer, value in buffers:
            buffer.copy_(value)
        for weight in learner.classifier.net.parameters():
            weight.grad = None
    set_generator_states(before, learners[0].classifier.device)


@contextmanager
def _stand_ins(learners: Sequence[Learner]) -> Iterator[None]:
    """A context in which cross-entropy replaces users' losses: it takes either kind of target."""
    losses = [
        (learner.classifier, learner.classifier.loss)
        for learner in learners
        if not is_ours(learner.classifier.loss)
    ]
    for classifier, _ in losses:
        classifier.loss = partial(nn.functional.cross_entropy, reduction="none")
    try:
        yield
    finally:
        for classifier, loss in losses:
            classifier.loss = loss


def _ignore(*_: object) -> None:
    """Do nothing: the error of a loss comes again where the step is taken."""


class _Trial:
    """A pass of copies of the nets, side by side and stacked."""

    def __init__(
        self,
        learners: Sequence[Learner],
        batches: Sequence[SeedBatch],
        masks: MaskShapes,
    ) -> None:
        """Copy the nets; on a CPU their bits must be equal, on a GPU their values to rounding."""
        self.device = learners[0].classifier.device
        self.on_gpu = self.device.type != "cpu"
        self.learners, self.masks = learners, masks
        self.images = [batches[learner.seed_place].images for learner in learners]
        self.nets = [deepcopy(learner.classifier.net).train() for learner in learners]
        same = [list(group) for _, group in groupby(learners, lambda one: one.seed_place)]
        self.firsts = [group[0] for group in same]
        pixels = self.images[0][0].numel()
        self.stacked = StackedNets(self.nets, [len(group) for group in same], pixels)
        self.of_block = [batches[learner.seed_place].images for learner in self.firsts]
        self.gradient: Tensor | None = None

    def agrees(self) -> bool:
        """Whether outputs, gradients and statistics of the stacked nets are those of each alone."""
        before = generator_states(self.device)
        stacked = self._stacked()
        alone = self._side_by_side()
        set_generator_states(before, self.device)
        buffers = [
            (self.stacked.buffers[name][number], buffer)
            for number, net in enumerate(self.nets)
            for name, buffer in net.named_buffers()
        ]
        pairs = [*zip(stacked, alone, strict=True), *buffers]
        return all(self._equal(one, other) for one, other in pairs)

    def _equal(self, one: Tensor, other: Tensor) -> bool:
        if not self.on_gpu or not one.is_floating_point():
            return torch.equal(one, other)
        scale = float(other.abs().max()) or 1.0
        return float((one - other).abs().max()) <= CLOSE * scale

    def _stacked(self) -> list[Tensor]:
        masks = [self._masks(learner) for learner in self.firsts]
        outputs = self.stacked.outputs(self.of_block, masks)
        outputs.backward(self._gradient(outputs))  # type: ignore[no-untyped-call]  # torch's
        gradients = self.stacked.of_each_net(self.stacked.gradients())
        return [*outputs.detach(), *(gradient for _, gradient in gradients)]

    def _side_by_side(self) -> list[Tensor]:
        outputs = []
        for number, (net, images) in enumerate(zip(self.nets, self.images, strict=True)):
            if self.masks.calls:
                self._begin(self.learners[number])
            z = training_pass(net, images[0].numel())(images)
            gradient = self._gradient(z)[number]
            z.backward(gradient)  # type: ignore[no-untyped-call]  # torch's
            outputs.append(z.detach())
        names = [name for name, _ in self.nets[0].named_parameters()]
        gradients = []
        for name in names:
            for net in self.nets:
                weight = net.get_parameter(name)
                assert weight.grad is not None
                gradients.append(weight.grad)
                weight.grad = None
        return [*outputs, *gradients]

    def _gradient(self, outputs: Tensor) -> Tensor:
        """Gradients with respect to the outputs of the nets, (nets, n, c), drawn once."""
        if self.gradient is None:
            shape = (len(self.nets), *outputs.shape[-2:])
            drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            self.gradient = drawn.to(outputs.device, outputs.dtype)
        return self.gradient

    def _begin(self, learner: Learner) -> None:
        assert learner.generators is not None
        set_generator_states(learner.generators, self.device)

    def _masks(self, learner: Learner) -> dict[str, Tensor]:
        if not self.masks.calls:
            return {}
        assert learner.generators is not None
        return self.masks.draw(learner.generators, self.device)
