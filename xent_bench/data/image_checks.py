"""Checks of the parts of a data set: a refusal says what was expected and how to mend it.

A wrong value would else be noticed after the training, or never.
"""

import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xent_bench.data.augment import Augmentation
from xent_bench.data.image_files import ImageFiles, shown
from xent_bench.data.several_labels import hint_in_rows
from xent_bench.data.vectors import Vectors
from xent_bench.failures import DataError
from xent_bench.types import Distribution, Index

COLOURS = (1, 3, 4)  # channels of an image, where they stand last
MOST_CHANNELS = 4  # more channels than these, where they stand first, may be a height


def check_classes(classes: Any) -> None:
    """DataError unless the classes are a tuple of two or more different names."""
    if not isinstance(classes, tuple):
        raise DataError(f"expected classes as a tuple of names, got {type(classes).__name__}")
    for name in classes:
        if not isinstance(name, str):
            got = f"{name!r:.40} of type {type(name).__name__}"
            raise DataError(f"expected classes as a tuple of names (str), got {got}")
        if not name.strip() or not can_be_written(name):
            raise DataError(
                f"expected names of classes that can be printed, got {shown(repr(name))}"
            )
    if len(classes) < 2:
        raise DataError(f"expected at least two classes, got {len(classes)}")
    name, count = Counter(classes).most_common(1)[0]
    if count > 1:
        raise DataError(f"expected different names of classes, got {name} {count} times")


def can_be_written(name: str) -> bool:
    """Whether terminals, plots and MLflow can write it: no control character, no lone surrogate."""
    return not any(unicodedata.category(char) in ("Cc", "Cs") for char in name)


def check_images(images: Any, augmentation: Any) -> int:
    """DataError unless the images are uint8, (n, channels, h, w), or files. Returns n."""
    if not isinstance(augmentation, Augmentation):
        got = type(augmentation).__name__
        raise DataError(f"expected augmentation as an Augmentation(flip, crop), got {got}")
    if isinstance(images, ImageFiles | Vectors):
        return len(images)
    _check_tensor("images", images)
    if images.dtype != torch.uint8 or images.ndim != 4:
        got = f"{_kind(images)}{_how_to_mend(images)}"
        raise DataError(f"expected images in uint8, (n, channels, h, w), got {got}")
    _, channels, h, w = images.shape
    if w in COLOURS and channels > MOST_CHANNELS:
        raise DataError(
            f"expected images as (n, channels, h, w), got shape {tuple(images.shape)}, which looks "
            "like (n, h, w, channels): images.permute(0, 3, 1, 2) reorders it"
        )
    if min(channels, h, w) < 1:
        raise DataError(f"expected images with pixels, got shape {tuple(images.shape)}")
    if augmentation.crop >= min(h, w):
        got = f"{min(h, w)} pixels: {augmentation.crop}"
        raise DataError(f"expected data.crop below the images' {got}")
    return len(images)


def check_labels(labels: Any, n: int, c: int) -> None:
    """DataError unless there is, for each of n images, one of c classes or a distribution."""
    _check_tensor("labels", labels)
    if labels.ndim < 1 or len(labels) != n:
        got = len(labels) if labels.ndim else "a single number"
        raise DataError(f"expected a label for each of {n} images, got {got}")
    if labels.is_floating_point():
        check_distributions(labels, c)
        return
    if labels.dtype != torch.int64 or labels.ndim != 1:
        if hint := hint_in_rows(labels.numpy()):
            raise DataError(hint)
        cast = ": labels.long() converts it" if labels.ndim == 1 else ""
        raise DataError(
            f"expected labels in int64, (n,), or soft ones in float, got {_kind(labels)}{cast}"
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < c:
        low, high = int(labels.min()), int(labels.max())
        raise DataError(f"expected labels from 0 to {c - 1}, got {low} to {high}")


def check_ids(split: str, ids: Any, n: int) -> None:
    """DataError unless `ids` are different ids of n images; `split` is test or val."""
    _check_tensor(f"the ids of {split}", ids)
    if ids.dtype != torch.int64 or ids.ndim != 1:
        raise DataError(f"expected the ids of {split} in int64, (m,), got {_kind(ids)}")
    if not len(ids):
        drawn = "a fifth is" if split == "test" else "val and calib are"
        raise DataError(f"expected ids of {split}, got none; without {split} {drawn} drawn")
    if len(ids.unique()) != len(ids) or not ((ids >= 0) & (ids < n)).all():
        raise DataError(f"expected the ids of {split} to be different, from 0 to {n - 1}")


def moments_for_channels(moments: Any, channels: int) -> Any:
    """The moments of three channels for other images: for grey ones their mean, else in turn.

    So do nets take the filters of three channels. Moments of another number are returned unchanged.
    """
    if moments is None or len(moments) == channels:
        return moments
    if len(moments) == 1:
        return (*moments,) * channels
    if len(moments) != 3:
        return moments
    return (sum(moments) / 3,) if channels == 1 else tuple(moments[i % 3] for i in range(channels))


def check_disjoint(test: Tensor | None, val: Tensor) -> None:
    """DataError if an image is in the official test split and in the official val split."""
    if test is not None and (shared := val[torch.isin(val, test)]).numel():
        raise DataError(
            f"expected different images in test and val, got {len(shared)} in both: image "
            f"{int(shared[0])}"
        )


def check_groups(groups: Any, n: int) -> None:
    """DataError unless the groups are None, or a whole number for each of n images."""
    if groups is None:
        return
    _check_tensor("groups", groups)
    if groups.dtype != torch.int64 or groups.shape != (n,):
        cast = ": groups.long() converts them" if groups.shape == (n,) else ""
        raise DataError(f"expected groups in int64, ({n},), got {_kind(groups)}{cast}")


def check_weights(weights: Any, n: int) -> None:
    """DataError unless the weights are None, or a finite number of at least 0 for each image."""
    if weights is None:
        return
    _check_tensor("weights", weights)
    if not weights.is_floating_point() or weights.shape != (n,):
        cast = ": weights.float() converts them" if weights.shape == (n,) else ""
        raise DataError(f"expected weights in float, ({n},), got {_kind(weights)}{cast}")
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise DataError("expected finite weights of at least 0")


def check_moments(mean: Any, std: Any, channels: int) -> None:
    """DataError unless mean and std are both None, or hold a number for each channel, 0 to 1."""
    if mean is None and std is None:
        return
    if mean is None or std is None:
        raise DataError("expected data.mean and data.std together, got one of them")
    for name, moment in (("data.mean", mean), ("data.std", std)):
        if len(moment) != channels:
            raise DataError(
                f"expected a number for each of {channels} channels as {name}, got {len(moment)}"
            )
    if not (all(0 <= value <= 1 for value in mean) and all(0 < value <= 1 for value in std)):
        raise DataError(
            f"expected data.mean and data.std in units of 0 to 1, std above 0, got {mean} and {std}"
        )


def check_distributions(rows: Tensor, c: int) -> None:
    """DataError unless each row holds c probabilities that sum to 1."""
    if rows.dtype not in (torch.float32, torch.float64):  # the three digits of others are too few
        raise DataError(f"expected soft labels in float32 or float64, got {rows.dtype}")
    if rows.shape[1:] != (c,):
        whole = rows.ndim == 1 and bool((rows == rows.round()).all())
        cast = ": labels.long() makes classes of them" if whole else ""
        got = f"{tuple(rows.shape)}{cast}"
        raise DataError(f"expected soft labels of shape ({len(rows)}, {c}), got {got}")
    if len(rows) and not (rows.min() >= 0 and (rows.sum(dim=1) - 1).abs().max() < 1e-4):
        expected = "expected soft labels of at least 0 that sum to 1 in each row"
        hint = hint_in_rows(rows.detach().numpy())
        raise DataError(expected if hint is None else f"{expected}; {hint}")


def checked_posterior(posterior: Callable[[Index], Distribution], ids: Index, c: int) -> np.ndarray:
    """p(y|x) of these images, in float64. DataError for an error or rows of another form."""
    try:
        rows: Any = posterior(ids)
    except StopIteration:  # `blaming` reports it
        raise
    except Exception as error:  # whatever a user's function raises
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error}, at {frame.filename}:{frame.lineno}"
        raise DataError(f"expected p(y|x) from the data set's posterior, got {reason}") from error
    if not isinstance(rows, Tensor) or rows.ndim != 2 or len(rows) != len(ids):
        got = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise DataError(f"expected p(y|x) of {len(ids)} images as a tensor of rows, got {got}")
    try:
        check_distributions(rows, c)
    except DataError as error:
        raise DataError(f"cannot use the data set's p(y|x): {error}") from error
    return rows.detach().double().cpu().numpy()


def _check_tensor(name: str, value: Any) -> None:
    if isinstance(value, Tensor):
        if value.device.type != "cpu":
            raise DataError(f"expected {name} in the memory of the CPU, got {value.device}")
        if value.layout != torch.strided:
            raise DataError(f"expected {name} as a dense tensor, got {value.layout}")
        return
    way = "torch.from_numpy" if isinstance(value, np.ndarray) else "torch.tensor"
    got = type(value).__name__
    raise DataError(f"expected {name} as a torch tensor, got {got}: {way} makes one")


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)}"


def _how_to_mend(images: Tensor) -> str:
    if images.dtype == torch.uint8 and images.ndim == 3:
        return ": images[:, None] adds the channel"
    if images.is_floating_point() and images.numel() and 0 <= images.min() <= images.max() <= 1:
        return ": (images * 255).round().byte() converts values from 0 to 1"
    return ""
