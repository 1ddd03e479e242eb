"""The published constants of the corruptions, for severities 1 to 5, at three sizes of images.

They are those with which CIFAR-10-C (32 pixels), Tiny-ImageNet-C (64) and ImageNet-C (224) were
made.  Hendrycks and Dietterich, 2019; their repository `robustness`.
"""

from typing import Any, Literal, TypeAlias

Size: TypeAlias = Literal["small", "medium", "large"]

# pixels of the shorter side up to which images are small or medium: between the published sizes
SMALL, MEDIUM = 48, 120


def size_of(height: int, width: int) -> Size:
    """The size whose constants images of this height and width get."""
    shorter = min(height, width)
    return "small" if shorter <= SMALL else "medium" if shorter <= MEDIUM else "large"


_ZOOM_BY_HUNDREDTHS = ((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01))
_SNOW = (
    (0.1, 0.2, 1, 0.6, 8, 3),
    (0.1, 0.2, 1, 0.5, 10, 4),
    (0.15, 0.3, 1.75, 0.55, 10, 4),
    (0.25, 0.3, 2.25, 0.6, 12, 6),
    (0.3, 0.3, 1.25, 0.65, 14, 12),
)

CONSTANTS: dict[str, dict[Size, tuple[Any, ...]]] = {
    # standard deviation, of a range of 0 to 1
    "gaussian_noise": {
        "small": (0.04, 0.06, 0.08, 0.09, 0.10),
        "medium": (0.04, 0.08, 0.12, 0.15, 0.18),
        "large": (0.08, 0.12, 0.18, 0.26, 0.38),
    },
    # photons of a white pixel
    "shot_noise": {
        "small": (500, 250, 100, 75, 50),
        "medium": (250, 100, 50, 30, 15),
        "large": (60, 25, 12, 5, 3),
    },
    # share of the values that become 0 or 1
    "impulse_noise": {
        "small": (0.01, 0.02, 0.03, 0.05, 0.07),
        "medium": (0.01, 0.02, 0.05, 0.08, 0.14),
        "large": (0.03, 0.06, 0.09, 0.17, 0.27),
    },
    # standard deviation, of the pixel's value
    "speckle_noise": {
        "small": (0.06, 0.1, 0.12, 0.16, 0.2),
        "medium": (0.15, 0.2, 0.25, 0.3, 0.35),
        "large": (0.15, 0.2, 0.35, 0.45, 0.6),
    },
    # standard deviation in pixels
    "gaussian_blur": {
        "small": (0.4, 0.6, 0.7, 0.8, 1),
        "medium": (0.5, 0.75, 1, 1.25, 1.5),
        "large": (1, 2, 3, 4, 6),
    },
    # radius of the disk, and standard deviation with which its edge is smoothed, in pixels
    "defocus_blur": {
        "small": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "medium": ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        "large": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    },
    # standard deviation of the blur, farthest exchange in pixels, passes
    "glass_blur": {
        "small": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "medium": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        "large": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    },
    # radius and standard deviation along the motion, in pixels
    "motion_blur": {
        "small": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        "medium": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        "large": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    },
    # number of zooms and their step: 1, 1 + step, 1 + 2 step, ...
    "zoom_blur": {
        "small": _ZOOM_BY_HUNDREDTHS,
        "medium": _ZOOM_BY_HUNDREDTHS,
        "large": ((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
    },
    # mean and deviation of the flakes, zoom, least value, radius and deviation of their motion;
    # last the share that stays of the image
    "snow": {
        "small": tuple(
            (*flakes, share)
            for flakes, share in zip(_SNOW, (0.95, 0.9, 0.9, 0.85, 0.8), strict=True)
        ),
        "medium": tuple(
            (*flakes, share)
            for flakes, share in zip(_SNOW, (0.8, 0.8, 0.7, 0.65, 0.6), strict=True)
        ),
        "large": (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    },
    # shares of the image and of the frost
    "frost": {
        "small": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "medium": ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        "large": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    },
    # density, and the factor by which detail gets fainter
    "fog": {
        "small": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "medium": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        "large": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    },
    # mean, deviation and blur of the liquid, least value, strength, and whether it is mud
    "spatter": {
        "small": (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        "medium": (
            (0.62, 0.1, 0.7, 0.7, 0.6, 0),
            (0.65, 0.1, 0.8, 0.7, 0.6, 0),
            (0.65, 0.3, 1, 0.69, 0.6, 0),
            (0.65, 0.1, 0.7, 0.68, 0.6, 1),
            (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        ),
        "large": (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
    },
    # factor on the difference to the mean
    "contrast": {
        "small": (0.75, 0.5, 0.4, 0.3, 0.15),
        "medium": (0.4, 0.3, 0.2, 0.1, 0.05),
        "large": (0.4, 0.3, 0.2, 0.1, 0.05),
    },
    # added to the largest channel
    "brightness": {
        "small": (0.05, 0.1, 0.15, 0.2, 0.3),
        "medium": (0.1, 0.2, 0.3, 0.4, 0.5),
        "large": (0.1, 0.2, 0.3, 0.4, 0.5),
    },
    # factor on the saturation, and what is added to it
    "saturate": {
        "small": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        "medium": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
        "large": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    },
    # JPEG's quality
    "jpeg_compression": {
        "small": (80, 65, 58, 50, 40),
        "medium": (65, 58, 50, 40, 25),
        "large": (25, 18, 15, 10, 7),
    },
    # factor on height and width
    "pixelate": {
        "small": (0.95, 0.9, 0.85, 0.75, 0.65),
        "medium": (0.9, 0.8, 0.7, 0.6, 0.5),
        "large": (0.6, 0.5, 0.4, 0.3, 0.25),
    },
    # as shares of the shorter side: strength and smoothness of the displacement, and the farthest
    # move of a corner of the triangle that is mapped. (ImageNet-C says 244 for its 224 pixels.)
    "elastic_transform": {
        "small": (
            *((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05)),
            (0.1, 0.03, 0.03),
        ),
        "medium": (
            *((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03)),
            (0.16, 0.03, 0.02),
        ),
        "large": tuple(
            tuple(244 / 224 * share for share in shares)
            for shares in (
                *((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02)),
                (0.12, 0.01, 0.02),
            )
        ),
    },
}
