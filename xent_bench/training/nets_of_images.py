"""The refusal of nets that take images where the data are vectors."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from xent_bench.config.configure import ConfigError
from xent_bench.data.image_set import ImageSet
from xent_bench.data.vectors import Vectors
from xent_bench.failures import DataError

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


@contextmanager
def refused_for_vectors(data: ImageSet, target: str) -> Iterator[None]:
    """A context in which a net is built: where the data are vectors, any error is a ConfigError.

    Each net complains in its own way about images of 1 x 1 pixel.
    """
    if not isinstance(data.images, Vectors):
        yield
        return
    try:
        yield
    except Exception as error:
        # of a net of the user's own, who wants to see it, or of the file of weights
        if not target.startswith("xent_bench.") or _is_of_weights(error):
            raise
        raise _refusal(data, target) from error


def _is_of_weights(error: Exception) -> bool:
    return isinstance(error, DataError) or (
        isinstance(error, ConfigError) and error.key.startswith("model.weights")
    )


def refuse_convolutions(net: nn.Module, data: ImageSet, target: str) -> None:
    """ConfigError for a net with convolutions over pixels where the data are vectors."""
    if isinstance(data.images, Vectors) and any(
        isinstance(module, CONVOLUTIONS) for module in net.modules()
    ):
        raise _refusal(data, target)


def _refusal(data: ImageSet, target: str) -> ConfigError:
    name = target.rpartition(".")[2]
    return ConfigError(
        "model",
        f"{name} takes images, and these are vectors of {data.shape[0]:,} numbers; "
        "expected model=linear or model=mlp",
    )
