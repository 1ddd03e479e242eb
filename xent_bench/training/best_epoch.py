"""The best epoch on val so far: its weights, and the end of training when none is better."""

from typing import Any, NamedTuple, cast

import numpy as np
from omegaconf import DictConfig
from torch import Tensor, nn

from xent_bench.config.choice_of_epoch import SIGNS
from xent_bench.config.configure import ConfigError
from xent_bench.config.schema import Choose
from xent_bench.links import BoundLink
from xent_bench.metrics.score import score
from xent_bench.process.gather import gathered_values
from xent_bench.runs.result import EPOCHS_TRAINED
from xent_bench.trained_net.weights import BEST

ENOUGH = 1000  # labels, to see which metrics there are


class BestSoFar(NamedTuple):
    """State for a checkpoint: the best epoch, its score and weights, and the epochs trained."""

    epoch: int  # counted from 1; 0: no epoch had a score
    value: float
    trained: int
    weights: dict[str, Tensor]  # on the CPU; empty where the last epoch is evaluated


class BestEpoch:
    """Follows a metric on val from epoch to epoch. Of equal epochs the earlier one is the best."""

    def __init__(self, metric: str, *, keeps: bool, patience: int | None) -> None:
        """`keeps` says whether the weights of the best epoch are kept, to be evaluated."""
        self.metric, self.keeps, self.patience = metric, keeps, patience
        self.best = BestSoFar(0, 0.0, 0, {})

    @property
    def stops(self) -> bool:
        """Whether `patience` epochs have passed since the best one."""
        return self.patience is not None and self.best.trained - self.best.epoch >= self.patience

    @property
    def evaluated(self) -> int:
        """The epoch whose weights are evaluated, counted from 1."""
        return (self.keeps and self.best.epoch) or self.best.trained

    def see(self, scores: dict[str, float], net: nn.Module) -> None:
        """Take note of val after one more epoch; of several processes the first has the scores."""
        value = gathered_values(scores.get(self.metric))[0]
        trained = self.best.trained + 1
        if value is None or not self._is_better(value):
            self.best = self.best._replace(trained=trained)
            return
        self.best = BestSoFar(trained, value, trained, _copied(net) if self.keeps else {})

    def _is_better(self, value: float) -> bool:
        sign = SIGNS[self.metric]
        if value != value:
            return False
        return self.best.epoch == 0 or sign * value > sign * self.best.value

    def use(self, net: nn.Module) -> None:
        """Give the net the weights of the epoch that is evaluated, if that is not the last."""
        if self.evaluated != self.best.trained:
            net.load_state_dict(self.best.weights)

    def keep(self, checkpoint: dict[str, Any]) -> None:
        """Put the state into a checkpoint, as plain values and tensors."""
        checkpoint[BEST] = self.best._asdict()

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Take the state from a checkpoint. ValueError for one that no such run has written."""
        best = BestSoFar(**checkpoint[BEST])
        kinds = {"epoch": int, "value": float, "trained": int, "weights": dict}
        for name, kind in kinds.items():
            if not isinstance(getattr(best, name), kind):
                raise ValueError(f"expected {kind.__name__} as {name} of the best epoch"[:200])
        self.best = best

    def tags(self, epochs: int) -> dict[str, str]:
        """Tags of a run that was planned for so many epochs."""
        return {
            "chosen_epoch": str(self.evaluated),
            EPOCHS_TRAINED: str(self.best.trained),
            "stopped_early": str(self.best.trained < epochs).lower(),
        }


def best_epoch(config: DictConfig) -> BestEpoch | None:
    """Make what a config asks for; None where the last of all epochs is evaluated."""
    keeps = config.choose is Choose.best
    if not keeps and config.patience is None:
        return None
    return BestEpoch(config.choose_by, keeps=keeps, patience=config.patience)


def check_metric(metric: str, link: BoundLink, labels: Tensor, classes: int) -> None:
    """ConfigError unless a run with this link has the metric on val, whose `labels` these are.

    Which metrics there are follows from the scores of random outputs.
    """
    few = labels[:ENOUGH].cpu().numpy()
    outputs = np.random.default_rng(0).normal(size=(len(few), classes)).astype(np.float32)
    offered = {f"val/{name}" for name in score(outputs, few, link)}
    if metric not in offered:
        why = "the scores of this loss are no probabilities"
        if "val/nll" in offered:
            why = "these data do not define it"
        names = ", ".join(key for key in SIGNS if key in offered)
        raise ConfigError(
            "choose_by",
            f"there is no {metric}, since {why}; expected one of {names}: choose_by=val/top1",
        )


def _copied(net: nn.Module) -> dict[str, Tensor]:
    state = cast(dict[str, Tensor], net.state_dict())
    # on the CPU: a copy on a GPU would take room that the next batches need
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
