"""Class imbalance: images are left out, so that some classes of train become rare.

Exponential sizes are those of CIFAR-LT (Cui et al., 2019, arXiv:1901.05555; Cao et al., 2019,
arXiv:1906.07413), step sizes those of Buda et al., 2018, arXiv:1710.05381.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from xent_bench.conditions.class_number import class_number
from xent_bench.conditions.kept import kept_of_each_class
from xent_bench.config.configure import ConfigError
from xent_bench.config.schema import Imbalance, ImbalanceKind, NaturalOrBalanced
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits
from xent_bench.failures import DataError
from xent_bench.types import Index

ROUNDING = 1e-9  # relative: 5000 / 100 must not become 49.99


def imbalanced(data: ImageSet, splits: Splits, imbalance: Imbalance, seed: int) -> Splits:
    """Leave out images of train until its class sizes have the shape that is asked for.

    Of each class val and calib keep the share that train keeps, rounded, which may be no image;
    with `val=balanced` they stay as they are. Test stays as it is. The class of an image with a
    soft label is its likeliest one. `seed` is the run's, used where the imbalance has none.
    ConfigError if a class would keep no image of train, or if `order` is not of its classes.
    """
    order = order_of(imbalance.order, data.classes)
    counts = _counts(data, splits.train)
    wanted = torch.zeros_like(counts)
    wanted[order] = torch.tensor(
        class_sizes(imbalance.kind, imbalance.ratio, counts[order].tolist())
    )
    _refuse_none(data, imbalance.ratio, counts, wanted)
    chosen = seed if imbalance.seed is None else imbalance.seed
    kept = {"train": kept_of_each_class(data, splits.train, wanted, chosen, "imbalance")}
    if imbalance.val is NaturalOrBalanced.natural:
        share = wanted / counts.double()
        for name in ("val", "calib"):
            kept[name] = _kept_share(data, getattr(splits, name), share, chosen)
            if not len(kept[name]):
                raise DataError(
                    f"expected images of {name} after imbalance.ratio={imbalance.ratio:g}, got "
                    "none; imbalance.val=balanced keeps all of them"
                )
    return splits._replace(**kept)


def class_sizes(kind: ImbalanceKind, ratio: float, available: Sequence[int]) -> list[int]:
    """The number of images that each class keeps, of those that it has; the largest class first.

    Class k of c keeps the integer part of n times its share. Exponential: the share is
    ratio^(-k / (c - 1)). Step: it is 1 for the first half of the classes, 1 / ratio for the others;
    the middle one of an odd number belongs to the first half. n is the largest number for which
    every class has enough images: for a balanced set the size of a class.
    """
    shares = _shares(kind, ratio, len(available))
    # an image less than the smallest n at which a class would need one more than it has
    n = min(
        math.ceil((images + 1) / share * (1 - ROUNDING)) - 1
        for images, share in zip(available, shares, strict=True)
    )
    return [math.floor(n * share * (1 + ROUNDING)) for share in shares]


def _shares(kind: ImbalanceKind, ratio: float, c: int) -> list[float]:
    if kind is ImbalanceKind.step:
        large = (c + 1) // 2
        return [1.0] * large + [1 / ratio] * (c - large)
    return [ratio ** (-k / (c - 1)) for k in range(c)]


def order_of(order: Any, classes: Sequence[str]) -> list[int]:
    """The numbers of the classes in the order that a config names, from the largest on.

    ConfigError unless every class is in it once, by its name or by its number. A number that is the
    name of a class means the class of that name.
    """
    if order is None:
        return list(range(len(classes)))
    if isinstance(order, str) or not isinstance(order, Sequence):
        raise ConfigError("imbalance.order", f"expected a list of classes, got {order!r}")
    numbers = [class_number(entry, classes, "imbalance.order") for entry in order]
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None:
        raise ConfigError(
            "imbalance.order", f"expected each class once, got {classes[twice]} twice"
        )
    missing = [name for number, name in enumerate(classes) if number not in set(numbers)]
    if missing:
        some = ", ".join(missing[:5]) + ", ..." * (len(missing) > 5)
        raise ConfigError(
            "imbalance.order",
            f"expected all {len(classes)} classes of the data, got none of {some}",
        )
    return numbers


def _counts(data: ImageSet, ids: Index) -> Int64[Tensor, " c"]:
    return data.index[ids].bincount(minlength=len(data.classes))


def _kept_share(data: ImageSet, ids: Index, share: Float64[Tensor, " c"], seed: int) -> Index:
    """Keep this share of each class, rounded to the nearest number of images."""
    wanted = (share * _counts(data, ids) + 0.5).floor().long()
    return kept_of_each_class(data, ids, wanted, seed, "imbalance")


def _refuse_none(
    data: ImageSet, ratio: float, counts: Int64[Tensor, " c"], wanted: Int64[Tensor, " c"]
) -> None:
    """Raise an error if a class has no image in train, or would keep none."""
    if int(counts.min()) == 0:
        absent = data.classes[int(counts.argmin())]
        raise DataError(f"imbalance needs an image of every class in train, got none of {absent}")
    if int(wanted.min()) == 0:
        emptied = int(wanted.argmin())
        raise ConfigError(
            "imbalance.ratio",
            f"expected one at which every class keeps an image of train, got {ratio:g}, at which "
            f"class {data.classes[emptied]} keeps none of its {int(counts[emptied])} images; "
            f"imbalance.ratio={int(counts.min())} is possible",
        )
