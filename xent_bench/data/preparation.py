"""The choices that say how an image file becomes the pixels that a net sees."""

from typing import NamedTuple


class Preparation(NamedTuple):
    """How image files are cropped, resized and mirrored."""

    size: int = 224  # pixels: height and width of what a net sees
    flip: bool = True  # mirror half of the training images, left to right
