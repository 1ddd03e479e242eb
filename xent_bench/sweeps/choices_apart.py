"""The refusal of loss=ce,focal loss.gamma=1,2: a key of one choice is set for another too.

A sweep is every combination, so it holds loss=ce loss.gamma=1, which no run can be.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xent_bench.config.choices import choices_of, key_of
from xent_bench.config.command_line import as_typed
from xent_bench.config.configure import ConfigError
from xent_bench.config.explain import CONFIG_ERRORS, missing_key, overrides_of


@contextmanager
def naming_the_choice(
    combinations: Sequence[Sequence[str]], typed: Sequence[str], folders: Sequence[Path]
) -> Iterator[None]:
    """Say of a key that only some choices of the sweep have which these are, and what to type.

    `typed` are the words of the command, and `folders` those that it adds to ours.
    """
    try:
        yield
    except CONFIG_ERRORS as error:
        key = missing_key(error)
        group, _, name = key.partition(".")
        words = dict.fromkeys(word for combination in combinations for word in combination)
        choices = [word for word in words if word.startswith(f"{group}=")]
        keys = choices_of(group, folders) if len(choices) > 1 else {}
        having = [word for word in choices if name in keys.get(word.partition("=")[2], ())]
        lacking = [word for word in choices if word not in having]
        # a choice whose own file has the key is refused for what its function takes
        if not having or not lacking or set(having) & set(overrides_of(error)):
            raise
        if group == "loss":
            way_out = _in_one_command(key, typed, [word.partition("=")[2] for word in having])
        else:
            way_out = f"a command for each: {'; '.join(_commands(key, typed, lacking, having))}"
        raise ConfigError(
            key, f"a key of {' and '.join(having)}, not of {' and '.join(lacking)}; {way_out}"
        ) from error


def _in_one_command(key: str, typed: Sequence[str], losses: Sequence[str]) -> str:
    """The command with loss.focal.gamma=1,2 in the place of loss.gamma=1,2."""
    keys = [f"loss.{loss}.{key.partition('.')[2]}" for loss in losses]
    words = []
    for word in as_typed(typed):
        match = re.fullmatch(rf"(\+*){re.escape(key)}=(.*)", word, re.S)
        words += [f"{match[1]}{of_one}={match[2]}" for of_one in keys] if match else [word]
    if words == as_typed(typed):  # the key stands in a file
        return f"expected {' and '.join(keys)} in its place"
    return f"expected {shlex.join(['xent-train', *words])}"


def _commands(
    key: str, typed: Sequence[str], lacking: Sequence[str], having: Sequence[str]
) -> Iterator[str]:
    """A command for the choices that have the key, and one for the others."""
    group = key.partition(".")[0]
    others = [word for word in as_typed(typed) if not word.startswith(f"{group}=")]
    without_key = [word for word in others if key_of(word) != key]
    for words, choices in ((without_key, lacking), (others, having)):
        names = ",".join(choice.partition("=")[2] for choice in choices)
        yield shlex.join(["xent-train", *words, f"{group}={names}"])
