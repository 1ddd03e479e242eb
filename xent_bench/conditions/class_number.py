"""The class that a user names in a config, by its name or by its number."""

from collections.abc import Sequence
from typing import Any

from xent_bench.config.configure import ConfigError
from xent_bench.config.nearest import hint


def class_number(name: Any, classes: Sequence[str], key: str) -> int:
    """The number of a class. A number that is the name of a class means the class of that name.

    ConfigError, which names the key that it was given to, if there is no such class.
    """
    if str(name) in classes:
        return classes.index(str(name))
    if isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(classes):
        return name
    raise ConfigError(
        key,
        f"expected names of classes, or numbers from 0 to {len(classes) - 1}, got {name!r}"
        f"{hint(str(name), classes)}",
    )
