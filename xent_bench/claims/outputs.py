"""Refusal of metrics that the runs of an arm cannot have, before the first of them is trained."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xent_bench.claims.cells import compose_configs
from xent_bench.claims.schema import PROTOCOLS
from xent_bench.claims.sweep import Asked
from xent_bench.config.configure import configured
from xent_bench.failures import UsageError
from xent_bench.links import margin, softmax
from xent_bench.metrics.score import score

AS_TRAINED = ("val", "test")  # prefixes of metrics that read outputs without a calibrator


def check_outputs(asked: Asked, added: Path | None) -> None:
    """Raise a UsageError for a metric of probabilities where an arm's loss gives scores alone.

    So it is with a hinge, whose runs have no val/nll and no test/ece, however many are trained.
    """
    for arm, config in compose_configs(asked, added).items():
        if getattr(configured(config, "loss").func, "link", softmax) is not margin:
            continue
        for place, key in _metrics_of(asked, arm):
            prefix, _, name = key.partition("/")
            if prefix in AS_TRAINED and name not in _metrics_of_scores():
                raise UsageError(
                    f"{asked.name}, {place}: the loss of arm {arm} gives scores that are no "
                    f"probabilities, so its runs have no {key}; expected a metric such as "
                    f"{prefix}/top1{' or test_ts/nll' * (prefix == 'test')}"
                )


def _metrics_of(asked: Asked, arm: str) -> Iterator[tuple[str, str]]:
    """Yield each metric that the runs of an arm need, after the key of the file that names it."""
    if len(asked.design.points()) > 1:
        yield "choose_by", asked.design.choose_by
    for place, part in enumerate(asked.parts):
        if arm in (part.arm, part.against):
            yield from ((f"parts.{place}.{key}", part.metric(key)) for key in PROTOCOLS)


def _metrics_of_scores() -> set[str]:
    """The names of the metrics that outputs have which are no probabilities."""
    right_and_wrong = np.array([0, 1, 2, 3, 4, 0])  # auroc_correct needs both
    return set(score(np.eye(6), right_and_wrong, margin))
