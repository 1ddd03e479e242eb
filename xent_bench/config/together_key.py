"""The key machine.together: how many runs of a sweep may train as one."""

from omegaconf import DictConfig

AUTO = "auto"
MOST_OF_AUTO = 64  # runs in a group; larger ones save little more, and lose more when one is killed
LARGEST = 4096


def complaint_of_together(config: DictConfig) -> tuple[str, str] | None:
    """The key and the complaint about machine.together; None if it is right."""
    value = config.machine.together
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value == AUTO or (is_number and 1 <= value <= LARGEST):
        return None
    expected = f"expected {AUTO}, or a whole number from 1 (each run alone) to {LARGEST}"
    return "machine.together", f"{expected}, got {value!r}"


def most_together(config: DictConfig) -> int:
    """The largest number of runs that may train as one with this run; 1: it trains alone."""
    value = config.machine.together
    return MOST_OF_AUTO if value == AUTO else int(value)
