"""Images of a data set to predict: of a choice of data, of a split of the run, or features."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from xent_bench.arrays import Target
from xent_bench.conditions.conditioned import conditioned
from xent_bench.config.composed import composed
from xent_bench.config.configure import configured
from xent_bench.data.array_files import ENDINGS, open_arrays
from xent_bench.data.feature_parts import unlabelled
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits, split
from xent_bench.data.vectors import Vectors
from xent_bench.failures import DataError
from xent_bench.prediction.pictures import Batch, Reader, decoded
from xent_bench.prediction.rows import Names
from xent_bench.runs.files import RESULT
from xent_bench.runs.result import load_run
from xent_bench.shift.images_of_test import load_stored, stored_config
from xent_bench.trained_net.record import NetRecord
from xent_bench.types import Index

TRAINED_ON = (
    "No scores: the net was trained on some of these images. --split test, in their place, "
    "predicts and scores those that it was tested on."
)


@dataclass(frozen=True)
class ImagesToPredict:
    """Images of a data set that are to be predicted, and what is known of them."""

    data: ImageSet
    ids: Index
    words: str  # that name them in an error
    why_unscored: str = ""  # a sentence, where labels must not be used as those of new images

    def target(self, classes: Sequence[str]) -> Target | None:
        """Labels of the images, by which predictions can be scored; None where they cannot.

        That is where the net was trained on some of the images, or on other classes.
        """
        if self.why_unscored or self.data.classes != tuple(classes):
            return None
        labels: Target = self.data.labels[self.ids].numpy()
        return labels

    def batches(self, record: NetRecord) -> Iterator[Batch]:
        """Read the images as the net takes them. DataError where a set has others."""
        images = self.data.images
        if isinstance(images, ImageFiles) and record.preprocessing.vectors is None:
            reader = Reader(record)
            numbers = self.ids.tolist()
            yield from decoded(reader.chunks_of(images, numbers), reader)
            return
        self._refuse_others(record)
        for ids in torch.split(self.ids, min(record.batch_size, 256)):
            names = Names([self.data.name_of(number) for number in ids.tolist()], {})
            yield Batch(names, self._taken(ids))

    def _taken(self, ids: Index) -> Tensor:
        images = self.data.images
        if isinstance(images, Vectors):
            return images.take(ids)
        assert isinstance(images, Tensor)
        return images[ids]

    def _refuse_others(self, record: NetRecord) -> None:
        images = self.data.images
        is_of_vectors = record.preprocessing.vectors is not None
        if isinstance(images, Vectors) != is_of_vectors or self.data.shape != record.shape:
            net, given = (
                f"vectors of {shape[0]:,} numbers" if of_vectors else f"images of {_size(shape)}"
                for of_vectors, shape in (
                    (is_of_vectors, record.shape),
                    (isinstance(images, Vectors), self.data.shape),
                )
            )
            raise DataError(f"expected {net}, which the net takes, got {given}: {self.words}")


def _size(shape: tuple[int, ...]) -> str:
    channels, h, w = shape
    return f"{w} x {h} pixels in {channels} channel{'s' * (channels != 1)}"


def images_of_choice(words: Sequence[str], folder: Path) -> ImagesToPredict:
    """All images of a choice of data: `words` are such as data=digits, with its keys.

    DataError for a set that cannot be loaded; a config's errors as in xent-train.
    """
    config = composed(words, None, ("data",), command="xent-predict")
    try:
        data = configured(config, "data")()
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"cannot load {' '.join(words)}: {error}") from error
    if not isinstance(data, ImageSet):
        raise DataError(f"expected an ImageSet of {' '.join(words)}, got {type(data)}")
    every = torch.arange(len(data.images))
    return ImagesToPredict(data, every, " ".join(words), _why_unscored(data, folder))


def _why_unscored(data: ImageSet, folder: Path) -> str:
    """Say why a set is no new one to the run's net; empty if none of its images was trained on.

    Images are compared by their content, wherever they lie: files by their bytes, others by their
    pixels or numbers. Those of train, val and calib were seen.
    """
    try:
        data_of_run, splits = splits_of(folder)
    except (DataError, OSError, ValueError) as error:
        return (
            "No scores: the data of the run cannot be loaded, so that nobody knows whether the net "
            f"was trained on some of these images: {error}"
        )
    content = _digests(data_of_run)
    ids = torch.cat([splits.train, splits.val, splits.calib])
    seen = {content[number] for number in ids.tolist()}
    return TRAINED_ON if seen.intersection(_digests(data)) else ""


def _digests(data: ImageSet) -> list[bytes]:
    """A hash of each image's content: of a file's bytes, or of pixels or numbers in memory."""
    images = data.images if data.files is None else data.files
    if isinstance(images, ImageFiles):
        return [digest.tobytes() for digest in images.hashes]
    digests = []
    for ids in torch.split(torch.arange(len(images)), 256):
        rows = images.take(ids) if isinstance(images, Vectors) else images[ids]
        digests += [hashlib.sha256(row.tobytes()).digest() for row in rows.contiguous().numpy()]
    return digests


def images_of_split(folder: Path, name: str) -> ImagesToPredict:
    """The images of a split of the run, with their labels.

    DataError if the set cannot be loaded or has changed since.
    """
    data, splits = splits_of(folder)
    ids: Index = getattr(splits, name)
    why = TRAINED_ON if name == "train" else ""
    return ImagesToPredict(data, ids, f"{name} of {folder}", why)


def splits_of(folder: Path) -> tuple[ImageSet, Splits]:
    """The data and the splits of a run, as they were when it was trained."""
    config = stored_config(folder)
    data = load_stored(config, folder)
    before = data.sha256()
    data, splits = conditioned(data, split(data, config.seed), config)
    expected = load_run(folder / RESULT).tags.get("data_sha256")
    if expected is not None and expected not in (before, data.sha256()):
        raise DataError(
            f"the images or labels are not those of the run in {folder}: expected data of SHA-256 "
            f"{expected[:16]}, got {before[:16]}"
        )
    return data, splits


def batches_of_features(files: Sequence[str], record: NetRecord) -> Iterator[Batch]:
    """The rows of features files, in batches. DataError for a file that has others."""
    width = record.shape[0]
    for file in files:
        rows, names = unlabelled(open_arrays(Path(file)))
        if rows.ndim != 2 or rows.shape[1] != width:
            raise DataError(
                f"expected features of {width:,} numbers in {file}, got shape {tuple(rows.shape)}"
            )
        vectors = Vectors((rows,), names=names)
        for ids in torch.split(torch.arange(len(rows)), 256):
            shown = [f"{file}: {vectors.name_of(number)}" for number in ids.tolist()]
            yield Batch(Names(shown, {}), vectors.take(ids))


def refuse_images_for_features(files: Sequence[str]) -> None:
    """DataError unless the words name files of features."""
    for file in files:
        if not file.lower().endswith(ENDINGS) or not Path(file).is_file():
            raise DataError(
                f"the net takes features: expected a file of them ({', '.join(ENDINGS)}) or "
                f"data=features data.root=FILE, got {file}"
            )
