"""Forty small runs in one sweep, against forty commands."""

from itertools import count
from tempfile import TemporaryDirectory

from measure import ratio, typical
from start_up import SMALL, cost_of_training

RUNS, COMMANDS = 40, 10
SHORT = 2, 1


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: seconds of CPU. Of the commands a quarter is run, and counted four times."""
    runs, commands_a_round = SHORT if short else (RUNS, COMMANDS)
    fresh = count()
    sweeps, commands = [], []
    with TemporaryDirectory() as folder:
        if not short:
            cost_of_training(("seed=1000", *SMALL), folder)  # makes the store
        for _ in range(rounds or 1):
            first = runs * next(fresh)
            seeds = f"seed=range({first},{first + runs})"
            sweeps.append(cost_of_training(("-m", seeds, *SMALL), folder))
            costs = [
                cost_of_training((f"seed={2000 + next(fresh)}", *SMALL), folder)
                for _ in range(commands_a_round)
            ]
            total = sum(cost.cpu for cost in costs) * runs / commands_a_round
            commands.append(sweeps[-1]._replace(cpu=total, wall=1.0))
        walled = [sweep._replace(wall=1.0) for sweep in sweeps]
    times = ratio(commands, walled).cpu
    return [
        [
            f"{runs} runs in one sweep",
            f"{typical(sweeps).cpu:.0f} s",
            f"{typical(commands).cpu:.0f} s in {runs} commands: {times:.1f} times",
        ]
    ]
