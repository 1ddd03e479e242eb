"""Measuring: by turns, in the order reversed each round, and medians of ratios within a round.

The libraries for it (pytest-benchmark, pyperf, torch.utils.benchmark) measure one thing after the
other; on a machine whose speed drifts, only what stands side by side can be compared.
"""

import gc
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from statistics import median
from typing import NamedTuple

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from xent_bench.config.parts import checked
from xent_bench.config.schema import CONF, register_schema


class Cost(NamedTuple):
    """Seconds of the processor (user and system, all threads), and of the clock."""

    cpu: float
    wall: float


def cost_of(work: Callable[[], object]) -> Cost:
    """Measure one call in this process."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def by_turns(works: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Do each work once a round and list its costs.

    A first round warms up and is thrown away; of 0 rounds it is all there is, and kept.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in works}
    names = list(works)
    for turn in range(rounds + 1):
        for name in names if turn % 2 else reversed(names):
            gc.collect()
            cost = works[name]()
            if turn or not rounds:
                costs[name].append(cost)
    return costs


def typical(costs: list[Cost]) -> Cost:
    """Medians over the rounds."""
    return Cost(*(median(seconds) for seconds in zip(*costs, strict=True)))


def ratio(costs: list[Cost], reference: list[Cost]) -> Cost:
    """How many times the reference's the costs are: the median over rounds."""
    pairs = list(zip(costs, reference, strict=True))
    return Cost(*(median(a[i] / b[i] for a, b in pairs) for i in range(2)))


def where(*packages: str) -> str:
    """Processor and versions, as a note below a table."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{processor()}; Python {platform.python_version()}, {versions}"


def processor() -> str:
    """The processor's model, where Linux tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(": ")[2].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def composed(*overrides: str) -> DictConfig:
    """A config as a user would type it, on one thread."""
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return checked(compose("train", ["machine=cpu", "machine.threads=1", *overrides]))
