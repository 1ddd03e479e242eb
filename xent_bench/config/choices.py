"""The choices of a group and their keys, read as text from the YAML files: no file is parsed."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path

from xent_bench.config.nearest import nearest
from xent_bench.config.schema import CONF, GROUPS, Imbalance, Machine, Noise, Recipe, Shift, Train

KEY = re.compile(r"^([A-Za-z]\w*):", re.MULTILINE)
SHOWN = 5  # choices that a message names
MAX_BYTES = 1_000_000  # a config has a few hundred


def choices_of(group: str, folders: Iterable[Path] = ()) -> dict[str, list[str]]:
    """The keys of each choice: {'ce': [], 'focal': ['gamma'], ...}; `folders` come before ours."""
    keys: dict[str, list[str]] = {}
    for folder in [*folders, CONF]:
        for file in sorted((folder / group).glob("*.yaml")):
            with suppress(OSError):
                if file.is_file() and file.stat().st_size <= MAX_BYTES:
                    keys.setdefault(file.stem, KEY.findall(file.read_text(errors="replace")))
    return keys


def owners(key: str, folders: Iterable[Path] = ()) -> list[str]:
    """Choices that have a key: ['loss=dual_focal', 'loss=focal', ...] for loss.gamma."""
    group, _, name = key.partition(".")
    if group not in GROUPS:
        return []
    return [
        f"{group}={choice}" for choice, keys in choices_of(group, folders).items() if name in keys
    ]


def listed(names: list[str]) -> str:
    """Up to five names, and how many more there are: 'a, b and 3 more'."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def key_of(word: str) -> str:
    """The key that an override sets, without the plus that adds it: loss.gamma of +loss.gamma=2."""
    return word.lstrip("+").partition("=")[0]


def is_key(name: str) -> bool:
    """Whether a name is a key, or the last word of one: epochs, optimizer.lr or lr."""
    name = name.replace("-", "_")
    return bool(name) and any(name in (key, key.rpartition(".")[2]) for key in _keys())


def typed_for(name: str, value: str) -> str:
    """The key=value that may have been meant by the words `name` and `value`; empty if none is.

    lr and 0.1 are optimizer.lr=0.1, and focal is loss=focal.
    """
    name = name.replace("-", "_")
    keys = _keys()
    if name not in keys:
        by_last_word = [key for key in keys if key.rpartition(".")[2] == name]
        suggestion = nearest(name, keys)
        if not by_last_word and not suggestion.startswith("did you mean"):
            return _choice(name)
        name = (by_last_word or [suggestion.removeprefix("did you mean ").rstrip("?")])[0]
        name = name.partition(" or ")[0]
    return f"{name}={value or '...'}"


def _choice(name: str) -> str:
    return next((f"{group}={name}" for group in GROUPS if name in choices_of(group)), "")


@cache
def _keys() -> list[str]:
    """Every key that can be typed, those of all choices among them."""
    parts = (
        *((Train, ""), (Machine, "machine."), (Recipe, "augmentation.")),
        *((Noise, "noise."), (Imbalance, "imbalance."), (Shift, "shift.")),
    )
    keys = [f"{prefix}{field.name}" for part, prefix in parts for field in fields(part)]
    of_choices = {
        f"{group}.{key}"
        for group in GROUPS
        for names in choices_of(group).values()
        for key in names
    }
    return [*keys, *sorted(of_choices)]
