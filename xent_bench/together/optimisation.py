"""The steps of the optimizers of a group: one call for all runs with the same settings.

PyTorch's optimizers treat each tensor by itself, so that a run's weights do not depend on the
others whose weights are in the same call. They are tensors of their own also where nets are
stacked: the fused steps compute the last numbers of a tensor, those beyond its last full vector,
with other instructions, so that one tensor for all runs would end with other bits (a bias of 10,
after 50 steps: 3e-8 with AdamW, 3e-5 with SGD and momentum).
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from xent_bench.together.learner import Learner
from xent_bench.training.averaging import averaged_pairs, decay_at
from xent_bench.training.rates import set_rate

JOINED = (AdamW, SGD)  # whose steps, where they are fused, are those of each tensor alone

Failed: TypeAlias = Callable[[Learner, BaseException, str], None]  # with the part that raised


class Optimisation:
    """Clips gradients, takes a step, and updates averaged weights, for all learners at once."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        """Join what the learners' optimizers have in common; their states are shared with them."""
        self.learners = list(learners)
        self.weights = [list(learner.classifier.net.parameters()) for learner in learners]
        self.all_weights = [weight for weights in self.weights for weight in weights]
        self.joined, self.alone = _joined(learners)
        self.averages = [
            averaged_pairs(averaged, learner.classifier.net)
            for learner in learners
            if (averaged := learner.classifier.averaged) is not None
        ]
        self.decay = learners[0].classifier.ema

    def step(self, step: int, failed: Failed) -> None:
        """Take the step with this number, counted from 0 over all epochs.

        `failed` is told which learner's schedule or optimizer raised an error.
        """
        self._clip()
        for joined in self.joined:
            joined.step(step)
        for learner in self.alone:
            part = "schedule"
            try:
                set_rate(learner.optimizer, learner.classifier.factor(step))
                part = "optimizer"
                learner.optimizer.step()
            except (Exception, SystemExit) as error:
                failed(learner, error, part)
        for weight in self.all_weights:
            weight.grad = None
        if self.averages and self.decay is not None:
            averages = [tensor for pair in self.averages for tensor in pair[0]]
            weights = [tensor for pair in self.averages for tensor in pair[1]]
            get_ema_multi_avg_fn(decay_at(step, self.decay))(averages, weights, None)  # type: ignore[no-untyped-call]  # torch's

    def hand_back(self) -> None:
        """Give each learner's own optimizer the state and the learning rate of the last step."""
        for joined in self.joined:
            joined.hand_back()

    def _clip(self) -> None:
        """Scale down the gradients of each run whose norm is above its limit, as torch does."""
        for learner, weights in zip(self.learners, self.weights, strict=True):
            if learner.classifier.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(weights, learner.classifier.clip_norm)


class _Joined:
    """One optimizer for the parameter groups of learners with one schedule.

    Groups with the same settings are one group.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        self.learners = learners
        self.groups = [
            (learner.optimizer, group)
            for learner in learners
            for group in learner.optimizer.param_groups
            if group["params"]
        ]
        alike: dict[Any, list[dict[str, Any]]] = {}
        for _, group in self.groups:
            alike.setdefault(_settings(group), []).append(group)
        kind = cast(Any, type(learners[0].optimizer))
        self.optimizer = kind(
            [
                {**same[0], "params": [weight for group in same for weight in group["params"]]}
                for same in alike.values()
            ]
        )
        for optimizer, group in self.groups:
            for weight in group["params"]:
                if weight in optimizer.state:
                    self.optimizer.state[weight] = optimizer.state[weight]

    def step(self, step: int) -> None:
        set_rate(self.optimizer, self.learners[0].classifier.factor(step))
        self.optimizer.step()

    def hand_back(self) -> None:
        rate_of = {
            id(weight): group["lr"]
            for group in self.optimizer.param_groups
            for weight in group["params"]
        }
        for optimizer, group in self.groups:
            group["lr"] = rate_of[id(group["params"][0])]
            for weight in group["params"]:
                if weight in self.optimizer.state:
                    optimizer.state[weight] = self.optimizer.state[weight]


def _joined(learners: Sequence[Learner]) -> tuple[list[_Joined], list[Learner]]:
    """The joined optimizers, and the learners whose optimizers take their steps by themselves."""
    alike: dict[Any, list[Learner]] = {}
    alone = []
    for learner in learners:
        if learner.schedule is not None and _can_be_joined(learner.optimizer):
            alike.setdefault((type(learner.optimizer), learner.schedule), []).append(learner)
        else:
            alone.append(learner)
    return [_Joined(same) for same in alike.values()], alone


def _can_be_joined(optimizer: Optimizer) -> bool:
    """Whether a step treats each tensor by itself, and no value of one run makes it raise an error.

    A step that is not fused raises one where a learning rate overflows.
    """
    return type(optimizer) in JOINED and all(group["fused"] for group in optimizer.param_groups)


def _settings(group: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The settings of a step, but for the learning rate of this moment, which a schedule sets."""
    return tuple(
        (name, repr(value)) for name, value in sorted(group.items()) if name not in ("params", "lr")
    )
