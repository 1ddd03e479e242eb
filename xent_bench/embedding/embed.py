"""The features of a data set: its images go once through a frozen net, without its head."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from xent_bench.config.code_hash import code_of
from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import choice, science
from xent_bench.config.parts import resolve, settled
from xent_bench.config.schema import Precision
from xent_bench.data.batches import Normalisation, pixels
from xent_bench.data.image_cache import kept
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import split
from xent_bench.embedding.head import Headless
from xent_bench.embedding.stored_parts import PART, StoredParts
from xent_bench.embedding.written_features import Streamed, write_features
from xent_bench.failures import DataError, Unavailable
from xent_bench.pretrained.images import as_weights_want
from xent_bench.process.arithmetic import arithmetic
from xent_bench.process.processors import processors
from xent_bench.process.provenance import provenance
from xent_bench.randomness import generator
from xent_bench.trained_net.weights import weights_sha256
from xent_bench.training.build import build_net, evaluation_batch, load, way_out
from xent_bench.training.trainer import build_trainer

PLAIN = "plain"  # the name of the view that is not varied
Report: TypeAlias = Callable[[int, int], None]  # rows done, rows in all


@dataclass(frozen=True)
class Wanted:
    """The options of xent-embed that are not those of a run."""

    out: Path | None = None  # the file; None: features/DATA-MODEL-KEY.npz
    views: int = 0  # augmented versions of each image beside the plain one
    dtype: Literal["float16", "float32"] = "float32"


class Embedded(NamedTuple):
    """The file of features, and whether it was there before."""

    file: Path
    n: int
    width: int
    done_before: bool
    has_drawn_weights: bool  # of the net, which nobody has trained


class Embedding(NamedTuple):
    """Everything that a pass over the images needs."""

    net: Headless
    data: ImageSet
    normalise: Normalisation
    device: torch.device
    batch_size: int
    config: DictConfig
    wanted: Wanted


def embed(config: DictConfig, wanted: Wanted, command: str, report: Report) -> Embedded:
    """Write the features of a set, or go on where an earlier call was ended.

    A file that holds them already is left as it is. DataError if the file holds other features.
    """
    parts = resolve(config)
    config, parts = as_weights_want(settled(config, parts), parts)
    device = build_trainer(config).strategy.root_device
    data = kept(load(parts), config.machine.cache, 1 + wanted.views)
    splits = split(data, config.seed)
    _refuse_views_without_variation(data, wanted)
    net = build_net(config, parts, data).net.to(device).eval()
    weights = weights_sha256(net)
    about = _about(config, data, weights, wanted)
    key = about["key"]
    file = wanted.out or Path("features", f"{_name(config)}-{key[:10]}.npz")
    threads = config.machine.threads or processors(1)
    exact = arithmetic(
        tf32=config.precision is Precision.tf32,
        deterministic=config.machine.deterministic,
        threads=threads,
    )
    with exact, torch.no_grad():
        normalise = data.normalisation(splits.train)
        headless = Headless(net, _few(data, normalise, device), way_out(parts))
        embedding = Embedding(
            headless, data, normalise, device, _batch_size(config, data), config, wanted
        )
        n, width = len(data.images), headless.width
        embedded = Embedded(file, n, width, False, parts.weights is None)
        if file.exists():
            _refuse_other_features(file, key)
            return embedded._replace(done_before=True)
        # other code may make other features: what was begun with it is not gone on with
        code = json.dumps(code_of(config.model["_target_"]), sort_keys=True)
        stored = StoredParts(file.with_name(f"{file.name}.parts"), f"{key} {code}", n)
        with stored.held():
            _refuse_full_disk(stored, n * width * _itemsize(wanted) * (1 + wanted.views))
            about |= {"command": command, "code": code, **provenance(device, 1)}
            _compute(embedding, stored, report)
            write_features(file, _arrays(embedding, stored), about)
            stored.remove()
        return embedded


def _name(config: DictConfig) -> str:
    return f"{choice(config, 'data')}-{choice(config, 'model')}"


def _about(config: DictConfig, data: ImageSet, weights: str, wanted: Wanted) -> dict[str, Any]:
    """The identity of the features: the images, the net, and how one was made of the other."""
    values = {
        name: value
        for name, value in science(config).items()
        if name.partition(".")[0] in ("data", "model", "seed", "precision")
    }
    facts = {
        "config": values,
        "images_sha256": data.sha256(),
        "weights_sha256": weights,
        "views": wanted.views,
        "dtype": wanted.dtype,
        "classes": list(data.classes),
    }
    content = json.dumps(facts, sort_keys=True, default=str)
    return {"key": hashlib.sha256(content.encode()).hexdigest(), **facts}


def _few(data: ImageSet, normalise: Normalisation, device: torch.device) -> Tensor:
    source = data.source(torch.arange(min(2, len(data.images))), device, workers=0)
    rows = next(iter(source.batches(torch.arange(len(source)), 2)))
    return pixels(normalise.along(source)(rows), data.shape)


def _batch_size(config: DictConfig, data: ImageSet) -> int:
    return min(int(config.batch_size), evaluation_batch(data))


def _refuse_views_without_variation(data: ImageSet, wanted: Wanted) -> None:
    varies = isinstance(data.images, ImageFiles) or data.augmentation.flip or data.augmentation.crop
    if wanted.views and not varies:
        raise ConfigError("views", "expected 0: this set allows no flips and no crops")


def _refuse_other_features(file: Path, key: str) -> None:
    from xent_bench.data.array_files import open_arrays

    about = open_arrays(file).about
    if about.get("key") != key:
        raise DataError(
            f"{file} holds other features: its images, net, views or dtype are not those of this "
            "command; expected out=FILE with another name, or delete it"
        )


def _refuse_full_disk(stored: StoredParts, size: int) -> None:
    """Unavailable unless there is room for the parts and, beside them, for the file."""
    free = shutil.disk_usage(stored.folder).free
    there = sum(file.stat().st_size for file in stored.folder.iterdir())
    if 2 * size - there > free:
        raise Unavailable(
            f"the features need {(2 * size - there) / 1e9:.1f} GB in {stored.folder.parent}, of "
            f"which half is free again at the end, but only {free / 1e9:.1f} GB are free"
        )


def _itemsize(wanted: Wanted) -> int:
    return np.dtype(wanted.dtype).itemsize


def _compute(embedding: Embedding, stored: StoredParts, report: Report) -> None:
    """Compute the parts that are not stored yet."""
    n = len(embedding.data.images)
    views = [PLAIN, *(f"view{number}" for number in range(embedding.wanted.views))]
    for number, view in enumerate(views):
        start = stored.rows_done(view)
        report(number * n + start, len(views) * n)
        waiting: list[np.ndarray] = []
        begun = start
        for rows in _features(embedding, view, start) if start < n else ():
            waiting.append(rows)
            start += len(rows)
            while start - begun >= PART or (start == n and waiting):
                joined = np.concatenate(waiting)
                stored.add(view, begun, joined[:PART])
                begun += len(joined[:PART])
                waiting = [joined[PART:]] if len(joined) > PART else []
            report(number * n + start, len(views) * n)


def _features(embedding: Embedding, view: str, start: int) -> Iterator[np.ndarray]:
    """The features of the images from number `start` on, batch by batch."""
    machine, data = embedding.config.machine, embedding.data
    n = len(data.images)
    everything = torch.arange(n)
    source = data.source(
        everything,
        embedding.device,
        processors(1) if machine.workers is None else machine.workers,
        varied=view != PLAIN,
        timeout=machine.worker_timeout or None,
    )
    if view == PLAIN:
        batches = source.batches(everything[start:], embedding.batch_size)
    else:
        rng = generator(embedding.config.seed, view)
        batches = source.varied(everything, everything[start:], embedding.batch_size, rng)
    normalise = embedding.normalise.along(source)
    for raw in batches:
        images = pixels(normalise(raw), source.shape)
        features = embedding.net(images, bf16=embedding.config.precision is Precision.bf16)
        with np.errstate(over="ignore"):  # refused in the next line
            stored = features.cpu().numpy().astype(embedding.wanted.dtype)
        _refuse_infinities(stored, data, start)
        start += len(stored)
        yield stored


def _refuse_infinities(rows: np.ndarray, data: ImageSet, start: int) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        way = "; expected dtype=float32" if rows.dtype == np.float16 else ""
        name = data.name_of(start + int(bad[0]))
        raise DataError(f"the features of {name} are not finite in {rows.dtype}{way}")


def _arrays(embedding: Embedding, stored: StoredParts) -> dict[str, Streamed]:
    """The arrays of the file."""
    data, wanted = embedding.data, embedding.wanted
    n, width, dtype = len(data.images), embedding.net.width, np.dtype(wanted.dtype)
    arrays = {"features": Streamed((n, width), dtype, stored.read(PLAIN))}
    if wanted.views:
        parts = zip(*(stored.read(f"view{k}") for k in range(wanted.views)), strict=True)
        views = (np.stack(rows, axis=1) for rows in parts)
        arrays["views"] = Streamed((n, wanted.views, width), dtype, views)
    arrays["labels"] = Streamed.of(data.labels.numpy())
    if data.test is not None or data.val is not None:
        splits = np.full(n, b"train", "S5")
        for name, ids in (("test", data.test), ("val", data.val)):
            if ids is not None:
                splits[ids.numpy()] = name.encode()
        arrays["splits"] = Streamed.of(splits)
    for name, values in (("groups", data.groups), ("weights", data.weights)):
        if values is not None:
            arrays[name] = Streamed.of(values.numpy())
    files = data.images if isinstance(data.images, ImageFiles) else data.files
    if files is not None:
        arrays["names"] = Streamed.of(files.names)
    return arrays
