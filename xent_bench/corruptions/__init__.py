"""Corruptions of images.  Hendrycks and Dietterich, 2019, arXiv:1903.12261.

    from xent_bench.corruptions import NAMES, corrupted
    foggy = corrupted(images, "fog", severity=3, ids=ids)  # uint8, (n, channels, h, w)

The fifteen of the paper are NAMES, its four extra ones EXTRA.
"""

from xent_bench.corruptions.corrupted import EXTRA, NAMES, corrupted

__all__ = ["EXTRA", "NAMES", "corrupted"]
