"""Counts of the labels that noise has changed, compared with what was asked for."""

import hashlib
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64
from scipy.special import bdtr, bdtrc

from xent_bench.conditions.transition import transition
from xent_bench.config.condition_keys import BY_RATE
from xent_bench.config.schema import Noise, NoiseKind
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits
from xent_bench.runs.noise_account import NoiseAccount, Transitions
from xent_bench.types import Index

Shares: TypeAlias = Float64[np.ndarray, "c c"]

ROUNDING = 1e-12  # of a probability


def count_noise(
    data: ImageSet, splits: Splits, noise: Noise
) -> tuple[NoiseAccount, Transitions] | None:
    """The account of the noise, and how often each class of train became each; None without any."""
    if data.clean is None:
        return None
    ids = {name: splits._asdict()[name] for name in ("train", "val", "calib")}
    has_changed = {name: data.labels[part] != data.clean[part] for name, part in ids.items()}
    changed = {name: part[has_changed[name]] for name, part in ids.items()}
    counts = _transitions(data, splits.train)
    p = None
    if noise.kind not in (NoiseKind.instance, NoiseKind.file):
        p = least_p(counts, transition(noise, data.classes).numpy())
    content = hashlib.sha256()
    for part in changed.values():
        content.update(part.numpy().tobytes() + data.labels[part].numpy().tobytes())
    account = NoiseAccount(
        noise.kind.name,
        noise.rate if noise.kind in BY_RATE else None,
        {name: len(part) for name, part in ids.items()},
        {name: len(part) for name, part in changed.items()},
        content.hexdigest(),
        p,
    )
    return account, counts


def _transitions(data: ImageSet, ids: Index) -> Transitions:
    """How often each clean class (row) has become each class (column) among these images."""
    assert data.clean is not None
    c = len(data.classes)
    pairs = data.clean[ids].numpy() * c + data.labels[ids].numpy()
    return np.bincount(pairs, minlength=c * c).reshape(c, c)


def least_p(counts: Transitions, asked: Shares) -> float:
    """The least p of the counts, each binomial with n of its row, times their number; at most 1.

    p is two-sided: twice the smaller tail. Counts whose probability is 0 or 1 are fixed: one that
    differs makes p 0, and they do not count in the number.
    """
    n = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    is_fixed = (asked < ROUNDING) | (asked > 1 - ROUNDING) | (n == 0)
    if (counts != np.round(n * asked))[is_fixed].any():
        return 0.0
    if is_fixed.all():
        return 1.0
    count, n, share = counts[~is_fixed], n[~is_fixed], asked[~is_fixed]
    at_most = bdtr(count, n, share)
    at_least = np.where(count > 0, bdtrc(count - 1, n, share), 1.0)
    p = np.minimum(1, 2 * np.minimum(at_most, at_least))
    return min(1.0, float(p.min() * p.size))
