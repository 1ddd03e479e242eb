"""The images and splits of a run after its conditions: imbalance, then few labels, then noise.

Images are left out by their clean labels, and noise is added to the labels of those that remain.
The images, labels and ids of test never change.
"""

from omegaconf import DictConfig

from xent_bench.conditions.imbalance import imbalanced
from xent_bench.conditions.noise import with_noise
from xent_bench.conditions.train_fraction import with_fewer_images
from xent_bench.config.conditions import has_imbalance, has_noise
from xent_bench.config.schema import Imbalance, Noise, plain
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits


def conditioned(data: ImageSet, splits: Splits, config: DictConfig) -> tuple[ImageSet, Splits]:
    """Apply the conditions that a config asks for; without one both are returned as they are."""
    if has_imbalance(config):
        splits = imbalanced(data, splits, Imbalance(**plain(config.imbalance)), config.seed)

    if config.train_fraction < 1:
        splits = with_fewer_images(data, splits, config.train_fraction, config.seed)

    if has_noise(config):
        data = with_noise(data, splits, Noise(**plain(config.noise)), config.seed)

    return data, splits
