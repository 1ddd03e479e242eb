"""A check, before training, that the net of the run can become a model at its end."""

from xent_bench.config.configure import ConfigError
from xent_bench.export.tensor_links import tensor_dividend
from xent_bench.failures import Unavailable
from xent_bench.links import BoundLink


def refuse_unfit_link(link: BoundLink, classes: int) -> None:
    """Raise a ConfigError for a link that no graph can hold: the user's own, in NumPy."""
    try:
        tensor_dividend(link, classes)
    except Unavailable as error:
        raise ConfigError("machine.log_model", str(error)) from error
