"""Keys of our optimizers and sets that do nothing at a neutral value, and may then be left out."""

from collections.abc import Collection, Mapping
from typing import Any

# of the learning rates of a net's blocks
RATES = {"backbone_lr": 1.0, "layer_decay": 1.0, "decay_bias_and_norm": False}
NEUTRAL_KEYS: dict[str, dict[str, Any]] = {"data": {"mean": None, "std": None}, "optimizer": RATES}


def without_neutral_keys(
    group: str, values: Mapping[str, Any], parameters: Collection[str]
) -> dict[str, Any]:
    """The values that a function with these parameters is meant to get.

    A function of the user's own that stands in the place of ours need not have our keys while they
    do nothing.
    """
    neutral = NEUTRAL_KEYS.get(group, {})
    return {
        key: value
        for key, value in values.items()
        if key in parameters or neutral.get(key, ...) != value
    }
