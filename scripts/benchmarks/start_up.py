"""The cost of a command that trains nothing."""

import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import Cost, by_turns, typical

SMALL = ("data=synthetic", "data.n=300", "model=linear", "epochs=1", "machine=cpu")
SWEEP = ("-m", "loss=ce,mse,hinge,focal,poly1", "seed=0,1,2", *SMALL)
SHORT_SWEEP = ("-m", "loss=ce", "seed=0", *SMALL)
COMMANDS = {  # with the exit code that each must have
    "xent-train --help": (("--help",), 0),
    "a misspelt choice": (("loss=focl",), 2),
    "a misspelt key": (("epoch=3",), 2),
    "a hyper-parameter out of range": (("loss=focal", "loss.gamma=-1"), 2),
    "a run that is finished": (("loss=ce", "seed=0", *SMALL), 0),
}


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: seconds of CPU, in a process of its own."""
    sweep, size = (SHORT_SWEEP, "1 run") if short else (SWEEP, "15 runs")
    commands = COMMANDS | {f"a sweep of {size} that is finished": (sweep, 0)}
    with TemporaryDirectory() as folder:
        cost_of_training(sweep, folder)  # so that there is something finished
        works = {
            name: partial(cost_of_training, words, folder, exit_code=code)
            for name, (words, code) in commands.items()
        }
        costs_of = by_turns(works, rounds)
    return [[name, f"{typical(costs).cpu:.2f} s", "0.6 s"] for name, costs in costs_of.items()]


def cost_of_training(words: tuple[str, ...], folder: str, *, exit_code: int = 0) -> Cost:
    """Measure xent-train and the processes that it starts; a RuntimeError if it ends otherwise."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = Path(sys.executable).with_name("xent-train")
    ended = subprocess.run(
        [program, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if ended.returncode != exit_code:  # the cost of something else
        command = " ".join(("xent-train", *words))
        got = f"{ended.returncode}: {ended.stdout}{ended.stderr}"
        raise RuntimeError(f"{command}: expected exit code {exit_code}, got {got}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, 0.0)
