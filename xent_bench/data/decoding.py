"""One image file as pixels: opened as one of the promised formats, upright, cropped and resized."""

import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError, features

Box: TypeAlias = tuple[float, float, float, float]  # left, upper, right, lower, in pixels
Draw: TypeAlias = Sequence[float]  # area, ratio, left, upper and mirror, uniform in [0, 1)
Pixels: TypeAlias = UInt8[np.ndarray, "size size 3"]

# Pillow's names of the formats that are read, and the endings of their files. Nothing else is
# opened: Pillow knows 40 formats more, and would start Ghostscript for a text that begins with %!PS
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
}
# the library that a Pillow may have been built without
LIBRARIES = {"JPEG": "jpg", "WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}

SEEN = 0.875  # the side of the central crop in evaluation, as a fraction of the shorter side
LEAST_AREA = 0.08  # of a random crop, as a fraction of the image's area
MOST_OBLONG = math.log(4 / 3)  # of a random crop: the largest |log(width / height)|
CROPS = "train: random crops of 8 to 100 % of the area; evaluation: the central square, 7/8 wide"

LARGE = 2**25  # pixels: of such images one is decoded at a time when all files are looked at
ONE_AT_A_TIME = Lock()
UPRIGHT, LYING, BAD = 1, 2, 3  # how a file looks; 0: nobody has looked

ORIENTATION = 274  # the number of EXIF's tag, 0x0112
# values of the tag by where the first row and column of the file belong in the upright image
FROM_RIGHT, FROM_BOTTOM, TURNED = {2, 3, 6, 7}, {3, 4, 7, 8}, {5, 6, 7, 8}


def readable_formats() -> tuple[str, ...]:
    """The formats of `FORMATS` that this Pillow can read."""
    built = features.modules | features.codecs
    lacking = {
        name
        for name, library in LIBRARIES.items()
        if library not in built or not features.check(library)
    }
    return tuple(name for name in FORMATS if name not in lacking)


READABLE = readable_formats()
ENDINGS = tuple(ending for name in READABLE for ending in FORMATS[name])


def silence_pillow() -> None:
    """Ignore Pillow's warnings: of damaged EXIF data, of an image of 90 to 179 million pixels."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(file: Path, draw: Draw | None, size: int) -> Pixels:
    """Crop the image by its draw, or centrally without one, and resize it to `size` x `size`.

    Raises what Pillow's readers raise for a damaged file, each another error; ValueError for a
    mode of more than 8 bits.
    """
    with _opened(file) as image:
        orientation = _load(image)
        w, h = image.size[::-1] if orientation in TURNED else image.size
        box = _centre(w, h) if draw is None else _crop(w, h, draw)
        colour = image.convert("RGB")
    box = _as_stored(box, w, h, orientation)
    resized = colour.resize((size, size), Image.Resampling.BILINEAR, box)
    upright = _upright(np.asarray(resized), orientation)
    return upright[:, ::-1] if draw is not None and draw[4] < 0.5 else upright


def is_upright(file: Path | bytes) -> bool:
    """Decode the whole image, a JPEG at an eighth of its size; False if EXIF says it lies turned.

    Raises as `decode` does.
    """
    with _opened(file) as image:
        image.draft(None, (1, 1))
        with ONE_AT_A_TIME if math.prod(image.size) > LARGE else nullcontext():
            return _load(image) == 1


def look(path: bytes) -> int:
    """Decode the whole image to see whether it is good: UPRIGHT, LYING or BAD."""
    try:
        return UPRIGHT if is_upright(path) else LYING
    except MemoryError:
        raise
    except Exception:  # each of Pillow's readers raises other errors
        return BAD


def complaint(error: Exception) -> str:
    """The reason why a file is no image that can be used, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is no {', '.join(READABLE[:-1])} or {READABLE[-1]}"
    return " ".join(str(error).split()) or type(error).__name__


def _opened(file: Path | bytes) -> Any:
    return Image.open(file, formats=READABLE)


def _load(image: Any) -> int:
    """Decode the pixels; return the orientation, from 1 (upright) to 8, in which they lie."""
    image.load()  # turns a TIFF by itself, and then removes the tag
    if image.mode.startswith(("I", "F")):  # values up to 65,535, which Pillow would clip at 255
        raise ValueError(f"expected 8 bits a channel, got mode {image.mode}")
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF data, for which each reader raises another error
        return 1
    return orientation if orientation in range(1, 9) else 1


def _as_stored(box: Box, w: int, h: int, orientation: int) -> Box:
    """The place in the file of a box in the upright image, whose size is w x h."""
    left, upper, right, lower = box
    if orientation in FROM_RIGHT:
        left, right = max(0.0, w - right), w - left
    if orientation in FROM_BOTTOM:
        upper, lower = max(0.0, h - lower), h - upper
    return (upper, left, lower, right) if orientation in TURNED else (left, upper, right, lower)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn what was cut from the file. That is cheaper than to turn a whole photograph."""
    if orientation in TURNED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in FROM_RIGHT:
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in FROM_BOTTOM else pixels


def _centre(w: int, h: int) -> Box:
    """The central square whose side is `SEEN` of the shorter side."""
    side = SEEN * min(w, h)
    left, upper = (w - side) / 2, (h - side) / 2
    return left, upper, left + side, upper + side


def _crop(w: int, h: int, draw: Draw) -> Box:
    """A random box: 8 to 100 % of the image's area, width / height from 3/4 to 4/3.

    Szegedy et al., 2015, arXiv:1409.4842. A box that is too wide or too high is cut to the image's
    side; other implementations draw again and, after ten draws, take the centre.
    """
    area = w * h * (LEAST_AREA + (1 - LEAST_AREA) * draw[0])
    ratio = math.exp(MOST_OBLONG * (2 * draw[1] - 1))
    width, height = min(math.sqrt(area * ratio), w), min(math.sqrt(area / ratio), h)
    left, upper = (w - width) * draw[2], (h - height) * draw[3]
    return left, upper, left + width, upper + height
