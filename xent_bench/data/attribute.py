"""An attribute of images, such as the camera: the value of each, by which scores are told apart."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from xent_bench.data.image_files import shown
from xent_bench.failures import DataError
from xent_bench.types import Index

EMPTY = "empty"  # the name of the value of images that have none


class Attribute(NamedTuple):
    """The value of each image, as its place among the names of the values."""

    name: str  # of the column or array
    values: tuple[str, ...]  # whole numbers in their order, texts sorted
    ids: Index  # int64 (n,): places in `values`

    @classmethod
    def of(cls, name: str, texts: Sequence[str]) -> "Attribute":
        """Number the values that occur; an empty text is a value of its own.

        DataError if each image has a value of its own: such a column says which image it is.
        """
        occurring = set(texts)
        if len(occurring) == len(texts) > 1:
            raise DataError(
                f"expected a column whose values many images share as data.attribute, got "
                f"{shown(name)} with {len(occurring):,} values for {len(texts):,} images"
            )
        empty = EMPTY
        while empty in occurring:
            empty += "_"
        ordered = sorted(occurring)
        if all(re.fullmatch(r"-?[0-9]+", text) for text in ordered if text):
            ordered.sort(key=lambda text: (not text, int(text or 0), text))
        place = {text: number for number, text in enumerate(ordered)}
        ids = torch.tensor([place[text] for text in texts], dtype=torch.int64)
        return cls(name, tuple(text or empty for text in ordered), ids)


def check_attribute(attribute: Any, n: int) -> None:
    """DataError unless the attribute is None, or has one of its values for each of n images."""
    if attribute is None:
        return
    if not isinstance(attribute, Attribute):
        got = type(attribute).__name__
        raise DataError(f"expected attribute as Attribute.of(NAME, [TEXT, ...]), got {got}")
    ids, values = attribute.ids, len(attribute.values)
    if ids.dtype != torch.int64 or ids.shape != (n,):
        raise DataError(
            f"expected a value of {shown(attribute.name)} for each of {n} images, got "
            f"{ids.dtype} of shape {tuple(ids.shape)}"
        )
    if n and not 0 <= int(ids.min()) <= int(ids.max()) < values:
        raise DataError(f"expected values of {shown(attribute.name)} from 0 to {values - 1}")
