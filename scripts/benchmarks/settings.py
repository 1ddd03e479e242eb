"""The effect of settings on a CPU: the time of a small CNN's step, against the default."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from loop import BASE, CASES, SHORT, ours
from measure import Cost, by_turns, composed, ratio

CASE = "small CNN, batches of 128"
SETTINGS = {
    "default (fp32, one thread, deterministic)": (),
    "machine.deterministic=false": ("machine.deterministic=false",),
    "precision=bf16": ("precision=bf16",),
    "machine.threads=2": ("machine.threads=2",),
}


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: throughput by the clock and by the processor's time, default = 1."""
    base = (*BASE, *CASES[CASE], *(SHORT if short else ()))
    with TemporaryDirectory() as folder:
        works: dict[str, Callable[[], Cost]] = {
            name: partial(ours, composed(*base, *chosen), Path(folder))
            for name, chosen in SETTINGS.items()
        }
        costs_of = by_turns(works, rounds)
    default, *_ = costs_of.values()
    return [
        [name, *(f"{1 / times:.2f}" for times in reversed(ratio(costs, default)))]
        for name, costs in costs_of.items()
    ]
