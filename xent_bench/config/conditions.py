"""The part of a run's identity that says how labels and class sizes of train were changed."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from xent_bench.config.condition_keys import BY_RATE
from xent_bench.config.first_weights import sha256_of
from xent_bench.config.schema import (
    ImbalanceKind,
    NaturalOrBalanced,
    NoiseKind,
    NoisyOrClean,
    plain,
)

DIGITS = 16  # of a hash of a file


def has_noise(config: DictConfig) -> bool:
    """Whether a label may be changed: a kind of noise is chosen, and its rate is not 0."""
    kind = config.noise.kind
    return kind is not NoiseKind.none and (kind not in BY_RATE or config.noise.rate > 0)


def has_imbalance(config: DictConfig) -> bool:
    """Whether classes are made rare: a kind of imbalance is chosen, and its ratio is not 1."""
    return config.imbalance.kind is not ImbalanceKind.none and config.imbalance.ratio > 1


def conditions(config: DictConfig) -> dict[str, Any]:
    """The flat keys of noise and imbalance that can change the numbers; empty without both.

    Files count by their content: the same labels elsewhere are the same run.
    """
    return _noise(config) | _imbalance(config)


def _noise(config: DictConfig) -> dict[str, Any]:
    noise = config.noise
    if not has_noise(config):
        return {}
    flat: dict[str, Any] = {"noise": noise.kind.name}
    if noise.kind in BY_RATE:
        flat["noise.rate"] = noise.rate
    if noise.val is not NoisyOrClean.noisy:
        flat["noise.val"] = noise.val.name
    for key in ("seed", "map", "column"):
        if noise[key] is not None:
            flat[f"noise.{key}"] = plain(noise)[key]
    for key in ("matrix", "labels"):
        if noise[key] is not None:
            flat[f"noise.{key}"] = sha256_of(Path(noise[key]).expanduser(), f"noise.{key}")[:DIGITS]
    return flat


def _imbalance(config: DictConfig) -> dict[str, Any]:
    imbalance = config.imbalance
    if not has_imbalance(config):
        return {}
    flat: dict[str, Any] = {"imbalance": imbalance.kind.name, "imbalance.ratio": imbalance.ratio}
    if imbalance.val is not NaturalOrBalanced.natural:
        flat["imbalance.val"] = imbalance.val.name
    for key in ("seed", "order"):
        if imbalance[key] is not None:
            flat[f"imbalance.{key}"] = plain(imbalance)[key]
    return flat
