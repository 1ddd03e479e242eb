"""The outputs of a finished run's net on corrupted and on foreign images, added to its folder.

It is one code for a run that was just trained and for one that was finished long ago: the net is
read back from the folder, and so is the config that says which data it was tested on. Images of
test are read a block at a time. What a killed process has left is gone on with.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from xent_bench.config.schema import Shift
from xent_bench.config.shift_asked import (
    ShiftAsked,
    complaint_of_shift,
    refuse_other_images,
    shift_asked,
)
from xent_bench.failures import DataError, UsageError
from xent_bench.metrics.shifts import COMPUTED, PUBLISHED
from xent_bench.process.counted import Counted
from xent_bench.process.processors import processors
from xent_bench.runs import files
from xent_bench.runs.kept_outputs import (
    IMAGES,
    NOTHING,
    ORIGIN,
    WEIGHTS,
    Kept,
    Named,
    halved,
    kept_in,
    raw_outputs,
    write_outputs,
)
from xent_bench.runs.predictions import load as load_predictions
from xent_bench.runs.result import load_run
from xent_bench.shift.corrupted_blocks import CorruptedBlocks
from xent_bench.shift.foreign_images import Wanted, foreign_images
from xent_bench.shift.images_of_test import ImagesOfTest, images_of_test, stored_config
from xent_bench.shift.refusals import refuse_vectors
from xent_bench.trained_net import TrainedNet
from xent_bench.trained_net import load as load_net
from xent_bench.trained_net.weights import CHECKPOINTS

LOCKED = ".shift.lock"
PARTS = ".shift-"  # the first letters of the folder of blocks that are done
OPTIONS = {"shift.names": "--shift", "shift.root": "--shift-root", "foreign": "--foreign"}
Parts = dict[str, list[str]]  # conditions by the name of their corruption


def keep_outputs(
    folder: Path, asked: ShiftAsked, cache: bool | None = None, processes: int = 1
) -> None:
    """Compute what `shift.npz` and `foreign.npz` lack of what is asked for, and keep it there.

    `cache` is machine.cache: if true, corrupted images are kept for other runs.
    `processes` share the machine's cores. DataError where the net, its data or the foreign images
    are gone or are others, or where outputs are not finite.
    """
    with FileLock(folder / LOCKED), _threads(processors(processes)):
        net = _load_net(folder)
        if net.record.preprocessing.vectors is not None:
            refuse_vectors(asked)
        test_ids = load_predictions(folder / files.PREDICTIONS).test.id
        if asked.conditions:
            _keep_shift(folder, net, lambda: images_of_test(folder, test_ids), asked, cache)
        if asked.foreign:
            _keep_foreign(folder, net, asked, len(test_ids))


def complete(
    folder: Path,
    names: list[str],
    severities: list[int],
    root: str | None,
    foreign: list[str],
) -> None:
    """Call `keep_outputs` for a run whose command is not at hand; its config is in the folder.

    UsageError for a name that does not exist, or that stands for other images in this run.
    """
    config = stored_config(folder)
    config.shift = Shift(names, severities, root)
    config.foreign = foreign
    if complaint := complaint_of_shift(config):
        key, words = complaint
        raise UsageError(f"{OPTIONS.get(key, key)}: {words}")
    asked = shift_asked(config)
    refuse_other_images(asked, load_run(folder / files.RESULT).tags)
    keep_outputs(folder, asked, config.machine.cache)


def _load_net(folder: Path) -> TrainedNet:
    if not (folder / files.WEIGHTS).exists() and not any(folder.glob(CHECKPOINTS)):
        raise DataError(
            f"expected the weights of the net in {folder}, got neither {files.WEIGHTS} nor a "
            f"checkpoint: without them nothing more can be scored; delete {files.RESULT} there and "
            "type the run's command again to train it anew"
        )
    return load_net(folder)


def _usable(file: Path, net: TrainedNet) -> Kept:
    """List what a file holds of this net; nothing where it is of an earlier training's weights."""
    kept = kept_in(file)
    return kept if kept.texts.get(WEIGHTS) == net.record.weights_sha256 else NOTHING


def _keep_shift(
    folder: Path,
    net: TrainedNet,
    load_images: Callable[[], ImagesOfTest],
    asked: ShiftAsked,
    cache: bool | None,
) -> None:
    file = folder / files.SHIFT
    kept = _usable(file, net)
    images = COMPUTED if asked.root is None else PUBLISHED
    refuse_other_images(asked, {"shift_images": kept.texts.get(IMAGES, images)})
    missing = [name for name in asked.conditions if name not in kept.names]
    if not missing:
        return
    tested = load_images()
    blocks = CorruptedBlocks(tested, asked.root, missing, cache)
    parts = folder / f"{PARTS}{net.record.weights_sha256[:16]}-{images}"
    done = _compute(parts, net, tested, blocks, _by_corruption(missing))
    whole = ((name, _joined(done, name)) for name in missing)
    texts = {WEIGHTS: net.record.weights_sha256, IMAGES: images}
    write_outputs(file, texts, chain(raw_outputs(file, kept.names), whole))
    for left in folder.glob(f"{PARTS}*"):  # of an earlier training too
        shutil.rmtree(left, ignore_errors=True)


def _by_corruption(conditions: list[str]) -> Parts:
    groups: Parts = {}
    for condition in conditions:
        groups.setdefault(condition.partition("/")[0], []).append(condition)
    return groups


def _compute(
    parts: Path, net: TrainedNet, tested: ImagesOfTest, blocks: CorruptedBlocks, groups: Parts
) -> list[Path]:
    """Write the outputs of each block of images under each corruption to a file, and list them."""
    parts.mkdir(exist_ok=True)
    size = net.record.batch_size
    report = Counted("scoring under shift: blocks of images", tested.blocks(size) * len(groups))
    done = []
    for number, block in enumerate(tested.batches(size)):
        for corruption, conditions in groups.items():
            part = parts / f"{corruption}-{number:05}.npz"
            if not _holds(part, conditions):
                outputs = [(c, _outputs(net, blocks.images(block, c), c)) for c in conditions]
                write_outputs(part, {}, outputs)
            done.append(part)
            report.count()
    return done


def _holds(part: Path, conditions: list[str]) -> bool:
    """Whether a block was done under these conditions by an earlier process; its file is whole."""
    with suppress(DataError):
        return set(conditions) <= set(kept_in(part).names)
    return False


def _outputs(net: TrainedNet, images: Tensor, name: str) -> np.ndarray:
    outputs = net.outputs(images).numpy()
    if not np.isfinite(outputs).all():
        raise DataError(f"outputs under {name} are not finite, though those on test are")
    return halved(outputs)


def _joined(parts: list[Path], condition: str) -> np.ndarray:
    corruption = condition.partition("/")[0]
    of_corruption = [part for part in parts if part.name.rpartition("-")[0] == corruption]
    return np.concatenate([next(raw_outputs(part, [condition]))[1] for part in of_corruption])


def _keep_foreign(folder: Path, net: TrainedNet, asked: ShiftAsked, n_test: int) -> None:
    """Compute the outputs on each foreign set that is missing; each set is kept when it is done."""
    file = folder / files.FOREIGN
    for name, entry in asked.foreign.items():
        kept = _usable(file, net)
        if name in kept.names:
            continue
        foreign = foreign_images(name, entry, Wanted.by(net.record), n_test)
        report = Counted(f"scoring {name}: images", foreign.n)
        outputs = np.concatenate([*_on_foreign(net, foreign.batches(), name, report)])
        texts = kept.texts | {
            WEIGHTS: net.record.weights_sha256,
            f"{ORIGIN}{name}": foreign.origin,
        }
        new: list[Named] = [(name, outputs)]
        write_outputs(file, texts, chain(raw_outputs(file, kept.names), new))


def _on_foreign(
    net: TrainedNet, batches: Iterator[Tensor], name: str, report: Counted
) -> Iterator[np.ndarray]:
    for images in batches:
        outputs = net.outputs(images).numpy()
        if not np.isfinite(outputs).all():
            raise DataError(f"outputs on {name} are not finite, though those on test are")
        yield outputs.astype(np.float32)
        report.count(len(images))


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """Compute with so many threads while the context lasts; the net has those of its tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
