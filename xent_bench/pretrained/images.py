"""The images that a net's first weights want, as values of the config for keys that are null."""

from functools import partial
from inspect import signature
from typing import Any

from omegaconf import DictConfig, open_dict

from xent_bench.config.first_weights import FirstWeights
from xent_bench.config.parts import Parts
from xent_bench.failures import DataError
from xent_bench.offered_weights import ImagesWanted, library_of
from xent_bench.runs.files import NET, WEIGHTS
from xent_bench.trained_net.record import NetRecord, load_record

OF_FILES = "shorter_side"  # a parameter of the data functions that read image files


def as_weights_want(config: DictConfig, parts: Parts) -> tuple[DictConfig, Parts]:
    """Fill in how images are prepared, where the config leaves it open and the weights tell.

    Sets of image files are cropped, resized and normalised as the weights want it; sets in memory
    are normalised so and, for a library's weights, resized within a net that has the key `size`.
    The given config is not changed.
    """
    if parts.weights is None:
        return config, parts
    wanted = images_wanted(parts, parts.weights)
    reads_files = OF_FILES in signature(parts.data.func).parameters
    data, model = _filled(parts.data, _of_data(wanted, parts, reads_files=reads_files)), parts.model
    in_memory = not reads_files or parts.data.keywords.get("size") == "original"
    if in_memory and parts.weights.name is not None:
        model = _filled(model, {"size": wanted.size})
    if reads_files and wanted.remark:
        print(f"model.weights: {wanted.remark}", flush=True)
    result = config.copy()
    with open_dict(result):
        for group, part in (("data", data), ("model", model)):
            for key, value in part.keywords.items():
                result[group][key] = value
    return result, parts._replace(data=data, model=model)


def _of_data(wanted: ImagesWanted, parts: Parts, *, reads_files: bool) -> dict[str, Any]:
    """The values that the weights want of a data function, none of them typed otherwise."""
    typed = parts.data.keywords
    values: dict[str, Any] = {}
    if typed.get("mean") is None and typed.get("std") is None:
        values |= {"mean": wanted.mean, "std": wanted.std}
    if reads_files:
        values["interpolation"] = wanted.interpolation
        if typed.get("size") is None:
            values |= {"size": wanted.size, "shorter_side": wanted.shorter_side}
    return values


def images_wanted(parts: Parts, weights: FirstWeights) -> ImagesWanted:
    """The images that the weights were trained on, by their library or by the net.json beside."""
    library = library_of(parts.model.func)
    if library is not None and weights.name is not None:
        return library.images(weights.name, parts.model.keywords)
    record = _record_beside(weights)
    if record is None:
        return ImagesWanted()
    preprocessing = record.preprocessing
    mean, std = (
        tuple(value / 255 for value in moment) for moment in (preprocessing.mean, preprocessing.std)
    )
    if preprocessing.crop is None:
        return ImagesWanted(mean=mean, std=std)
    size = preprocessing.size[0]
    shorter_side = getattr(preprocessing, "shorter_side", None)
    if shorter_side is None and preprocessing.crop_fraction:
        shorter_side = round(size / preprocessing.crop_fraction)
    return ImagesWanted(size, shorter_side, preprocessing.interpolation, mean, std)


def remark_on_classes(weights: FirstWeights, classes: tuple[str, ...]) -> str:
    """Say that the net.json beside the weights has as many classes, and others or in another order.

    Such a head is taken, and gives the outputs of one class to another. Empty where nothing is
    known.
    """
    record = _record_beside(weights)
    if record is None or len(record.classes) != len(classes) or record.classes == classes:
        return ""
    order = ", in another order" if set(record.classes) == set(classes) else ""
    place = next(k for k, name in enumerate(classes) if name != record.classes[k])
    return (
        f"; its head is of other classes{order}: output {place} was {record.classes[place]} and is "
        f"{classes[place]} now"
    )


def _record_beside(weights: FirstWeights) -> NetRecord | None:
    """The net.json beside a weights.pt of ours; None for other files, and if it cannot be read."""
    if weights.file.name != WEIGHTS or not (weights.file.parent / NET).is_file():
        return None
    try:
        return load_record(weights.file.parent)
    except DataError:  # the weights are read all the same
        return None


def _filled(part: "partial[Any]", values: dict[str, Any]) -> "partial[Any]":
    """The callable with values for those of its parameters that are open."""
    names = signature(part.func).parameters
    given = {key: value for key, value in part.keywords.items() if value is not None}
    wanted = {key: value for key, value in values.items() if key in names and value is not None}
    return partial(part.func, **part.keywords | wanted | given)
