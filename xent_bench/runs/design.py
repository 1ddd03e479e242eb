"""The design of the sweep to which a run belongs, as its tag tells."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from xent_bench.config.design_keys import DEFAULTS, DESIGN


class Design(NamedTuple):
    """The keys of a sweep that say which runs it consists of. The defaults are no design."""

    trials: int | None = None  # points at which each loss was tried; None: what the sweep lists
    sampler: str = "sobol"
    sampler_seed: int = 0
    search_by: str = "val/top1"  # the metric on val that chooses among the trials of a loss
    rungs: int = 1
    confirm: int = 0  # fresh seeds of each loss's chosen trial
    until: str = "once"
    primary: str = "test_ts/nll"  # the metric that decides
    baseline: str = "ce"
    max_seeds: int = 30

    @property
    def is_search(self) -> bool:
        """Whether the points of its trials were drawn."""
        return self.trials is not None

    @property
    def is_sequential(self) -> bool:
        """Whether seeds were added until the losses were told apart."""
        return self.until == "decided"

    @property
    def is_adaptive(self) -> bool:
        """Whether the points of a loss follow from the scores of its earlier ones."""
        return self.is_search and self.sampler != "sobol"

    @property
    def has_rounds(self) -> bool:
        """Whether later runs depend on the results of earlier ones."""
        return self.is_sequential or self.is_adaptive or self.rungs > 1 or self.confirm > 0


def design_of(tags: Mapping[str, str]) -> Design:
    """Read a run's design from its tags; no design where the tag is absent or damaged."""
    try:
        values = json.loads(tags.get(DESIGN, "{}"))
    except ValueError:
        return Design()
    if not isinstance(values, dict) or not all(
        key in DEFAULTS and _has_type_of(value, key) for key, value in values.items()
    ):
        return Design()
    return Design(**values)


def _has_type_of(value: Any, key: str) -> bool:
    default = 0 if key == "trials" else DEFAULTS[key]
    return type(value) is type(default)
