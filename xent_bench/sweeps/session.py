"""The session of a sweep: the plan and the tally that the parts which Hydra builds have in common.

Hydra builds the callback, the sweeper and the launcher one by one, and gives each only its context.
"""

from typing import Protocol, runtime_checkable

from hydra.types import HydraContext

from xent_bench.sweeps.lines import Tally
from xent_bench.sweeps.plan import Plan


@runtime_checkable
class Session(Protocol):
    """A Hydra callback that has planned the sweep; both are None where the sweeper plans itself."""

    plan: Plan | None
    tally: Tally | None


def session_of(context: HydraContext) -> Session:
    """The session among Hydra's callbacks: the Console of conf/train.yaml."""
    return next(each for each in context.callbacks.callbacks if isinstance(each, Session))
