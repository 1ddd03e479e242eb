"""The choices that say how an image file becomes the pixels that a net sees."""

from typing import Literal, NamedTuple, TypeAlias

from xent_bench.failures import DataError
from xent_bench.ranges import ImageSize, Moments

Interpolation: TypeAlias = Literal["bilinear", "bicubic"]

SIZE = 224  # pixels
SEEN = 0.875  # the side of the central square in evaluation, as a share of the shorter side


class Preparation(NamedTuple):
    """How image files are reduced, cropped, resized, mirrored and normalised.

    First each image is turned upright and reduced until its shorter side has `shorter_side` pixels;
    it is never enlarged. Training sees random crops of that, resized to `size` x `size`; evaluation
    sees its central square of `size` x `size` pixels. Without a first step (`shorter_side` 0) both
    are cut from the whole image. With a `size` of None images stay as they are.
    """

    size: int | None = SIZE  # pixels: height and width of what a net sees; None: the images' own
    shorter_side: int = round(SIZE / SEEN)  # pixels; 0: crops are cut from the whole image
    interpolation: Interpolation = "bilinear"
    channels: int = 3  # 1: grey
    mean: Moments | None = None  # of each channel, in units of 0 to 1
    std: Moments | None = None
    flip: bool = True  # mirror half of the training images, left to right
    crop: int = 0  # pixels of reflected border, where size is None

    @classmethod
    def chosen(
        cls,
        *,
        size: ImageSize | None = None,
        shorter_side: int | None = None,
        interpolation: Interpolation | None = None,
        channels: int = 3,
        mean: Moments | None = None,
        std: Moments | None = None,
        flip: bool = True,
        crop: int = 0,
    ) -> "Preparation":
        """Put the usual values in the place of None. DataError for values that exclude each other.

        Usual are 224 pixels, a shorter side of size / 0.875, and bilinear interpolation.
        """
        if isinstance(size, str):  # original
            if shorter_side:
                raise DataError(
                    "data.size=original leaves images as they are, and data.shorter_side="
                    f"{shorter_side} would resize them: expected one of the two"
                )
            return cls(None, 0, "bilinear", channels, mean, std, flip, crop)
        if crop:
            raise DataError(
                f"data.crop={crop} shifts images that are not resized: expected it with "
                "data.size=original, without which training sees random crops"
            )
        pixels = size or SIZE
        reduced = round(pixels / SEEN) if shorter_side is None else shorter_side
        if 0 < reduced < pixels:
            raise DataError(
                f"expected data.shorter_side of at least data.size={pixels}, or 0 for crops of the "
                f"whole image, got {reduced}"
            )
        method = interpolation or "bilinear"
        return cls(pixels, reduced, method, channels, mean, std, flip)

    @classmethod
    def of_whole_images(cls, size: int) -> "Preparation":
        """The preparation by a size alone: bilinear crops of the whole image, in colour."""
        return cls(size, shorter_side=0)

    @property
    def crops(self) -> str:
        """The crops in words, for the start of a run."""
        if self.size is None:
            return "as they are"
        train = "train: random crops of 8 to 100 % of the area"
        if not self.shorter_side:
            return f"{train}; evaluation: the central square, 7/8 wide"
        return (
            f"reduced to {self.shorter_side} pixels on the shorter side; {train}; evaluation: the "
            "central square"
        )
