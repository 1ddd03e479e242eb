"""A sweep as it was typed: its design, and the runs that it begins with."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from xent_bench.designs.dimensions import Space
from xent_bench.runs.design import Design


class Designed(NamedTuple):
    """The design of a sweep, and the overrides of each run that it begins with."""

    design: Design
    combinations: list[list[str]]
    loss: str  # of runs whose overrides name no loss
    seed: int  # of runs whose overrides name no seed
    epochs: int  # of runs whose overrides name no number of epochs
    spaces: Mapping[str, Space] = MappingProxyType({})  # of each loss, where points are drawn
