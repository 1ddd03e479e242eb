"""Few labels: only a share of the images of train remains, in each class."""

from xent_bench.conditions.kept import kept_of_each_class
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits


def with_fewer_images(data: ImageSet, splits: Splits, fraction: float, seed: int) -> Splits:
    """Keep this share of the images of each class in train, rounded; the other splits stay.

    A class that has an image keeps one at least. The images of a smaller share are among those of a
    larger one, for the same seed.
    """
    counts = data.index[splits.train].bincount(minlength=len(data.classes))
    wanted = (fraction * counts.double() + 0.5).floor().long().clamp(min=1)
    return splits._replace(
        train=kept_of_each_class(data, splits.train, wanted, seed, "train fraction")
    )
