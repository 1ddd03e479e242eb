"""Groups of minibatches, so that Lightning's overhead is paid once a group, not once a step."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from xent_bench.data.batches import Share

# of a group: short enough for a progress bar, and long beside the 0.2 ms of Lightning's overhead
SECONDS = 0.1
# minibatches of a group: on a GPU a step returns before it is computed, so its time says little
MAX_MINIBATCHES = 256


@runtime_checkable  # for the tests, which enforce annotations
class Minibatches(Protocol):
    """Minibatches of an epoch, which can be read from any of them on."""

    share: Share

    def __len__(self) -> int:
        """Number of minibatches of an epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass."""

    def after(self, taken: int) -> Iterator[Any]:
        """Yield the minibatches after the first `taken`."""


M = TypeVar("M", bound=Minibatches)


class Groups(Generic[M]):
    """A loader that yields groups, each an iterator over consecutive minibatches of an epoch.

    The size of a group depends on how long the last ones took, so the number of groups is not
    known before (the number of minibatches is: `steps`). No result depends on it, because the
    minibatches and their order stay the same.
    """

    def __init__(self, batches: M, agree: Callable[[int], int] = int) -> None:
        """`agree` makes the sizes equal in processes that train together: they save together."""
        # Lightning calls set_epoch of a loader's `sampler`, also after a resume
        self.batches = self.sampler = batches
        self.steps = len(batches)
        self.taken = 0  # minibatches that the next pass skips: a resumed run has trained on them
        self.agree = agree

    def __iter__(self) -> Iterator[Iterator[Any]]:
        """Yield the groups of one epoch; Lightning always requests one group ahead."""
        # Lightning requests the first group before it sets the epoch: `after` is a generator, which
        # reads the epoch only when its first minibatch is requested
        minibatches = self.batches.after(self.taken)
        # `running` is the size of the group that is trained between two requests: the group before
        # the one that was yielded last, whose size is `size`
        left, running, size = self.steps - self.taken, 1, 1
        self.taken = 0
        requested = time.monotonic()
        while left:
            size = min(size, left)
            left -= size
            yield islice(minibatches, size)
            now = time.monotonic()
            wanted = int(SECONDS * running / max(now - requested, 1e-9))
            running, requested = size, now
            size = self.agree(max(1, min(wanted, 4 * size, MAX_MINIBATCHES)))
