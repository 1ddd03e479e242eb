"""The session of a sweep: the plan and the tally that callback, sweeper and launcher share.

Hydra builds these three one by one, and gives each only its context.
"""

from typing import Protocol, runtime_checkable

from hydra.types import HydraContext

from xent_bench.sweeps.lines import Tally
from xent_bench.sweeps.plan import Plan, Planner


@runtime_checkable
class Session(Protocol):
    """A Hydra callback with planner, plan and tally.

    They are None if the sweeper chooses as it goes.
    """

    planner: Planner | None
    plan: Plan | None  # of the round that is next
    tally: Tally | None


def session_of(context: HydraContext) -> Session:
    """Find the session among Hydra's callbacks: the Console of conf/train.yaml."""
    callbacks = context.callbacks.callbacks
    return next(callback for callback in callbacks if isinstance(callback, Session))
