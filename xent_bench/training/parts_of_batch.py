"""Parts of a minibatch whose gradients are added up (`accumulate`)."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor


def parts_of_batch(
    whole: tuple[Tensor, ...], parts: int, announce: Callable[[Tensor], None]
) -> Iterable[tuple[Any, ...]]:
    """Images, target, weights of the mean's gradient and `announce` for each part of a batch.

    The processes that train together average their gradients once, in the last part.
    """
    if parts == 1:
        return ((*whole, announce),)
    columns = (column.chunk(parts) for column in whole)
    announcements = (*[nothing] * (parts - 1), announce)
    return zip(*columns, announcements, strict=True)


def nothing(_: Tensor | int) -> None:
    """Do nothing: no other process waits for the gradients, or no weights are averaged."""
