"""Code of the user's own, typed by its name alone: model._target_=my_module.MyNet model.hidden=64.

A group whose `_target_` is typed, and of which nothing is chosen, starts from the empty choice
`own`, so that keys of the default choice do not get in the way. Its keys, and those that every net
has, need no plus before them.
"""

import re
from collections.abc import Sequence

from xent_bench.config.net_options import NAMES
from xent_bench.config.schema import GROUPS, OWN

OPTION = re.compile(rf"model\.({'|'.join(NAMES)})=.*", re.S)
ADDED = re.compile(rf"\+\+(({'|'.join(GROUPS)})\.[^=]*=.*)", re.S)


def with_own(overrides: Sequence[str]) -> list[str]:
    """The overrides as Hydra wants them for keys that the chosen files may not have."""
    groups = [
        group
        for group in GROUPS
        if any(word.startswith(f"{group}._target_=") for word in overrides)
        and not any(word.startswith(f"{group}=") for word in overrides)
    ]
    keys = tuple(f"{group}." for group in groups)
    added = [
        f"++{word}" if word.startswith(keys) or OPTION.fullmatch(word) else word
        for word in overrides
    ]
    return [*(f"{group}={OWN}" for group in groups), *added]


def without_own(overrides: Sequence[str]) -> list[str]:
    """The overrides as they are typed: the inverse of `with_own`."""
    chosen = {f"{group}={OWN}" for group in GROUPS}
    return [ADDED.sub(r"\1", word) for word in overrides if word not in chosen]
