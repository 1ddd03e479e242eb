"""Forty small runs in one sweep, against forty commands."""

from itertools import count
from tempfile import TemporaryDirectory

from measure import ratio, typical
from start_up import SMALL, command_cost

RUNS, COMMANDS = 40, 10


def measured(rounds: int) -> list[list[str]]:
    """Rows: seconds of CPU. Of the commands a quarter is run, and counted four times."""
    fresh = count()
    sweeps, commands = [], []
    with TemporaryDirectory() as folder:
        command_cost(["xent-train", "seed=1000", *SMALL], folder)  # makes the store
        for _ in range(rounds):
            first = RUNS * next(fresh)
            seeds = f"seed=range({first},{first + RUNS})"
            sweeps.append(command_cost(["xent-train", "-m", seeds, *SMALL], folder))
            costs = [
                command_cost(["xent-train", f"seed={2000 + next(fresh)}", *SMALL], folder)
                for _ in range(COMMANDS)
            ]
            total = sum(each.cpu for each in costs) * RUNS / COMMANDS
            commands.append(sweeps[-1]._replace(cpu=total, wall=1.0))
        walled = [each._replace(wall=1.0) for each in sweeps]
    times = ratio(commands, walled).cpu
    return [
        [
            f"{RUNS} runs in one sweep",
            f"{typical(sweeps).cpu:.0f} s",
            f"{typical(commands).cpu:.0f} s in {RUNS} commands: {times:.1f} times",
        ]
    ]
