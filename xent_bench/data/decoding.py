"""One image file as pixels: opened as one of the promised formats, turned upright, and resized."""

import math
import warnings
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from xent_bench.data.cropping import Box, Draw, Pixels, is_mirrored, random_box, resized
from xent_bench.data.preparation import SEEN, Preparation

Content: TypeAlias = Path | bytes | BytesIO  # a path, as text or bytes; or the bytes of a file

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

METHODS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

LARGE = 2**25  # pixels: of such images one is decoded at a time when all files are looked at
ONE_AT_A_TIME = Lock()
UPRIGHT, LYING, BAD = 1, 2, 3  # how a file looks; 0: nobody has looked
# modes of files, as Pillow calls them: grey, colour, with a palette, with transparency, for print
MODES = ("another", "1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")

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


def reduced(content: Content, preparation: Preparation) -> Pixels:
    """Decode an image as it is stored: upright, its shorter side reduced to `shorter_side` pixels.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is still large enough. An image that
    is small enough, and any image with a `shorter_side` of 0, keeps its size. Raises as `decode`.
    """
    side = preparation.shorter_side
    pixels, orientation = _as_it_lies(content, preparation)
    h, w, _ = pixels.shape
    shorter = min(h, w)
    if 0 < side < shorter:
        shape = side * h // shorter, side * w // shorter
        pixels = resized(pixels, shape, preparation.interpolation)
    return np.ascontiguousarray(_upright(pixels, orientation))


def whole(content: Content, preparation: Preparation) -> Pixels:
    """Decode a whole image upright, at the size at which `reduced` decodes it before it resizes.

    Raises as `decode`.
    """
    return np.ascontiguousarray(_upright(*_as_it_lies(content, preparation)))


def _as_it_lies(content: Content, preparation: Preparation) -> tuple[Pixels, int]:
    """The pixels as they lie in the file, and their orientation.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where `shorter_side` allows it.
    """
    side = preparation.shorter_side
    with _opened(content) as image:
        if side:
            image.draft(None, (side, side))
        with ONE_AT_A_TIME if math.prod(image.size) > LARGE else nullcontext():
            orientation = _load(image)
            mode = _mode(preparation)
            pixels = np.array(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], preparation.channels), orientation


def decode(content: Content, draw: Draw | None, preparation: Preparation) -> Pixels:
    """Crop the whole image by its draw, or centrally without one, and resize it.

    Raises what Pillow's readers raise for a damaged file, each another error; ValueError for a
    mode of more than 8 bits.
    """
    with _opened(content) as image:
        orientation = _load(image)
        w, h = image.size[::-1] if orientation in TURNED else image.size
        box = _centre(w, h) if draw is None else random_box(w, h, draw)
        colour = image.convert(_mode(preparation))
    box = _as_stored(box, w, h, orientation)
    size = preparation.size or 0
    square = colour.resize((size, size), METHODS[preparation.interpolation], box)
    pixels = np.asarray(square).reshape(size, size, preparation.channels)
    upright = _upright(pixels, orientation)
    return upright[:, ::-1] if is_mirrored(draw) else upright


def is_upright(content: Content) -> bool:
    """Decode the whole image, a JPEG at an eighth of its size; False if EXIF says it lies turned.

    Raises as `decode` does.
    """
    with _opened(content) as image:
        return _orientation(image) == 1


def _orientation(image: Any) -> int:
    """Decode the whole image, a JPEG at an eighth of its size; return how EXIF says it lies."""
    image.draft(None, (1, 1))
    with ONE_AT_A_TIME if math.prod(image.size) > LARGE else nullcontext():
        return _load(image)


def look(path: bytes) -> int:
    """Decode the whole image to see whether it is good, and how large: a number of several parts.

    Bits 0 to 7: UPRIGHT, LYING or BAD; 8 to 15: the place of its mode in MODES; 16 to 39 and 40 to
    63: width and height of the upright image, in pixels.
    """
    return _look(path)


def look_into(content: bytes) -> int:
    """Do what `look` does with the bytes of a file."""
    return _look(BytesIO(content))


def _look(content: Content) -> int:
    try:
        with _opened(content) as image:
            w, h, mode = *map(int, image.size), str(image.mode)
            orientation = _orientation(image)
    except MemoryError:
        raise
    except Exception:  # each of Pillow's readers raises other errors
        return BAD
    number = MODES.index(mode) if mode in MODES else 0
    if orientation in TURNED:
        w, h = h, w
    return (UPRIGHT if orientation == 1 else LYING) | number << 8 | w << 16 | h << 40


def complaint(error: Exception) -> str:
    """The reason why a file is no image that can be used, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is no {', '.join(READABLE[:-1])} or {READABLE[-1]}"
    return " ".join(str(error).split()) or type(error).__name__


def _opened(content: Content) -> Any:
    return Image.open(content, formats=READABLE)


def _mode(preparation: Preparation) -> str:
    return "L" if preparation.channels == 1 else "RGB"


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
