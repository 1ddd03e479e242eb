"""A sweep as it was typed: its design, and the runs that it begins with."""

from typing import NamedTuple

from xent_bench.runs.design import Design


class Designed(NamedTuple):
    """The design of a sweep, and the overrides of each run that it begins with."""

    design: Design
    combinations: list[list[str]]
    loss: str  # of runs whose overrides name none
    seed: int  # of these, too
    epochs: int  # likewise
