"""What a command costs that trains nothing."""

import os
import resource
import subprocess
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import Cost, by_turns, typical

SMALL = ("data=synthetic", "data.n=300", "model=linear", "epochs=1", "machine=cpu")
SWEEP = ("-m", "loss=ce,mse,hinge,focal,poly1", "seed=0,1,2", *SMALL)
COMMANDS = {
    "xent-train --help": ("--help",),
    "a misspelt choice": ("loss=focl",),
    "a misspelt key": ("epoch=3",),
    "a hyper-parameter out of range": ("loss=focal", "loss.gamma=-1"),
    "a run that is finished": ("loss=ce", "seed=0", *SMALL),
    "a sweep of 15 runs that is finished": SWEEP,
}


def measured(rounds: int) -> list[list[str]]:
    """Rows: seconds of CPU, in a process of its own."""
    with TemporaryDirectory() as folder:
        _train(SWEEP, folder)  # so that there is something finished
        works = {name: partial(_train, words, folder) for name, words in COMMANDS.items()}
        found = by_turns(works, rounds)
    return [[name, f"{typical(costs).cpu:.2f} s", "0.6 s"] for name, costs in found.items()]


def _train(words: tuple[str, ...], folder: str) -> Cost:
    return command_cost(["xent-train", *words], folder)


def command_cost(command: list[str], folder: str) -> Cost:
    """Of a process and those that it starts."""
    name, *words = command
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = Path(os.environ["VIRTUAL_ENV"], "bin", name)
    subprocess.run([program, *words], cwd=folder, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, 0.0)
