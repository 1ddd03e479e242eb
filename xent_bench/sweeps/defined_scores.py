"""The refusal of a design that judges a loss by a metric which its runs cannot have."""

from functools import partial
from typing import Any

import numpy as np
from omegaconf import DictConfig

from xent_bench.config.configure import ConfigError
from xent_bench.links import link_of
from xent_bench.metrics.score import score

EXAMPLES, CLASSES = 40, 10


def refuse_undefined(config: DictConfig, loss: "partial[Any]") -> None:
    """ConfigError where the loss's outputs are no probabilities and the design's metric needs some.

    Which metrics there are follows from the scores of random outputs.
    """
    outputs = np.random.default_rng(0).normal(size=(EXAMPLES, CLASSES)).astype(np.float32)
    labels = np.arange(EXAMPLES) % CLASSES
    offered = score(outputs, labels, link_of(loss))
    keys = {"search_by": config.search_by}
    if config.until.name == "decided" and config.primary.startswith("test/"):
        keys["primary"] = config.primary  # after calibration every loss has probabilities
    for key, metric in keys.items():
        if metric.partition("/")[2] not in offered:
            name = config.loss["_target_"].rpartition(".")[2]
            instead = "val/top1" if key == "search_by" else "test_ts/nll"
            raise ConfigError(
                key,
                f"{name} has no {metric}, since its scores are no probabilities; expected "
                f"{key}={instead} or the like, or a sweep without {name}",
            )
