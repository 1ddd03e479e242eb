"""The number of processes that decode image files for a run."""

from omegaconf import DictConfig

from xent_bench.process.processors import processors


def decoders_of(machine: DictConfig) -> int:
    """The number that `machine.workers` says; by default the run's share of the processors."""
    if machine.workers is not None:
        return int(machine.workers)
    return processors(machine.jobs * machine.devices)
