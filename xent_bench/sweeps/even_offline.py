"""Runs of a sweep that go on without MLflow, where it does not answer as they begin.

The command of the sweep has asked it before: that it is silent now is no mistake of the user's.
"""

from collections.abc import Callable, Iterable, Sequence

from omegaconf import DictConfig

from xent_bench.failures import Unreachable
from xent_bench.together.members import Ended
from xent_bench.tracking.reach import refuse_silent_stores


def train_even_offline(
    configs: Sequence[DictConfig], train: Callable[[Sequence[int], Ended], None], ended: Ended
) -> None:
    """Train runs; those that could not reach MLflow at their start are trained again, offline.

    `train` trains the runs at some places of `configs`, and tells how each of them ended. `ended`
    is called once for each run, with the error that ended it, or None.
    """
    unreachable: dict[int, Unreachable] = {}

    def noted(number: int, error: BaseException | None) -> None:
        if isinstance(error, Unreachable) and not configs[number].machine.offline:
            unreachable[number] = error
        else:
            ended(number, error)

    train(range(len(configs)), noted)
    _go_offline([configs[number] for number in unreachable], unreachable.values())
    if unreachable:
        train(list(unreachable), noted)


def offline_if_silent(configs: Sequence[DictConfig]) -> None:
    """Let runs of one store log to their folders alone if it cannot be used."""
    try:
        refuse_silent_stores(configs)
    except Unreachable as error:
        _go_offline(configs, [error])


def _go_offline(configs: Iterable[DictConfig], reasons: Iterable[Unreachable]) -> None:
    for reason in dict.fromkeys(map(str, reasons)):
        print(f"{reason}; the runs go on without", flush=True)
    for config in configs:
        config.machine.offline = True
