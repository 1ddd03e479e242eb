"""The parts of a net by the names of its parameters: head, blocks before it, and what is frozen.

`training/blocks.py` finds them.
"""

from typing import NamedTuple


class NetParts(NamedTuple):
    """Names of parameters, which a copy of the net has too."""

    head: frozenset[str]  # of the layers that give the outputs; empty if the net has none
    blocks: tuple[frozenset[str], ...]  # in the order from the images to the head
    frozen: frozenset[str] = frozenset()  # not trained, by model.trainable

    def depth(self, name: str) -> int:
        """The distance of a parameter from the outputs: 0 in the head, 1 in the last block, ..."""
        if name in self.head:
            return 0
        return next(
            depth for depth, block in enumerate(reversed(self.blocks), start=1) if name in block
        )
