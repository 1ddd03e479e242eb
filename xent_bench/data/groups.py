"""Minibatches in groups: Lightning's own work on a step is then paid once a group."""

import time
from collections.abc import Iterator
from itertools import islice

from torch import Tensor

from xent_bench.data.batches import ShuffledBatches

SECONDS = 0.1  # a group: soon enough to move a progress bar, and Lightning's 0.2 ms are nothing
AT_MOST = 256  # minibatches: a GPU is told faster than it works, so there time tells little


class Groups:
    """A pass over the minibatches, in iterators over some of them.

    How many depends on how long the last ones took, and changes no number: the minibatches and
    their order are the same. So there is no length, but `steps`.
    """

    def __init__(self, batches: ShuffledBatches) -> None:
        """Lightning tells the epoch to a loader's `sampler`, also after a resume."""
        self.batches = self.sampler = batches
        self.steps = len(batches)
        self.taken = 0  # before the next pass, by a run that was interrupted within an epoch

    def __iter__(self) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
        """Lightning asks for the first group before it tells the epoch, and always one ahead."""
        # looks at nothing before its first minibatch is wanted
        minibatches = self.batches.after(self.taken)
        # sizes of the group that is trained between two requests, and of the one given before it
        left, running, size = self.steps - self.taken, 1, 1
        self.taken = 0
        asked = time.monotonic()
        while left:
            size = min(size, left)
            left -= size
            yield islice(minibatches, size)
            now = time.monotonic()
            wanted = int(SECONDS * running / max(now - asked, 1e-9))
            running, size, asked = size, max(1, min(wanted, 4 * size, AT_MOST)), now
