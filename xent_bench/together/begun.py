"""Members of a group whose folders are held, and which of them have come equally far."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from xent_bench.training.run import Prepared

STEPS_IN_NAME = slice(4, 14)  # of a checkpoint's file: step0000000120-3f2a9c0e71d5b846.ckpt


class Begun(NamedTuple):
    """A member whose folder this process holds until `contexts` end."""

    number: int
    run: Prepared
    contexts: ExitStack


def in_step(begun: Sequence[Begun]) -> tuple[list[Begun], list[Begun]]:
    """Divide members into those that most have come as far as, by their checkpoints, and others.

    Of equally many the further ones are the first.
    """
    counts = Counter(_steps_of(one.run.checkpoint) for one in begun)
    usual = max(counts, key=lambda steps: (counts[steps], steps), default=0)
    same = [one for one in begun if _steps_of(one.run.checkpoint) == usual]
    return same, [one for one in begun if _steps_of(one.run.checkpoint) != usual]


def closed(contexts: ExitStack, error: BaseException | None) -> BaseException | None:
    """End contexts with an error, if there is one; returns the one that they raise in its place."""
    try:
        if error is None:
            contexts.close()
        else:
            contexts.__exit__(type(error), error, error.__traceback__)
    except BaseException as final:
        return final
    return error


def _steps_of(checkpoint: Path | None) -> int:
    """The number of steps in a checkpoint's name; 0 without one."""
    return 0 if checkpoint is None else int(checkpoint.name[STEPS_IN_NAME])
