"""The conventions by which a net is built: (shape, classes), or by names that other libraries use.

A class or function that takes `num_classes` gets it by name, and with it the number of channels and
the size of the images, if it has a parameter for them.
"""

from collections.abc import Callable, Collection, Sequence
from inspect import Parameter
from typing import Any

CLASSES = "num_classes"
CHANNELS = ("in_chans", "in_channels", "channels")
SIZE = ("img_size", "image_size")
BY_NAME = (CLASSES, *CHANNELS, *SIZE)


class ByName:
    """A net's function or class, called with (shape, classes) as others are."""

    def __init__(self, function: Callable[..., Any], names: Collection[str]) -> None:
        """`names` are those of its parameters that say what the images are."""
        self.function, self.names = function, names

    def __call__(self, shape: tuple[int, int, int], classes: int, **values: Any) -> Any:
        """Build the net; the size of square images is one number, that of others (h, w)."""
        channels, height, width = shape
        size = height if height == width else (height, width)
        values |= {name: size for name in SIZE if name in self.names}
        values |= {name: channels for name in CHANNELS if name in self.names}
        return self.function(**{CLASSES: classes}, **values)


def passed_by_name(parameters: Sequence[Parameter], given: Collection[str]) -> tuple[str, ...]:
    """The parameters that tell a net what the images are; none where these are the first two.

    `given` are the names of the hyper-parameters that the user gives. A function whose first two
    are (shape, num_classes) is called so, also if `shape` has another name: it has to be given, the
    user does not give it, and nothing else says what the images are.
    """
    names = [parameter.name for parameter in parameters]
    if CLASSES not in names or "shape" in names[0]:
        return ()
    needed = [p.name for p in parameters if p.default is Parameter.empty and p.name not in given]
    if names[1:2] == [CLASSES] and needed[:1] == names[:1] and not {*needed} & {*CHANNELS, *SIZE}:
        return ()
    return tuple(name for name in names if name in BY_NAME)
