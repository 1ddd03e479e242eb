"""The refusal of loss=ce,focal loss.gamma=1,2: a key of one choice is set for another too.

A sweep is every combination, so it holds loss=ce loss.gamma=1, which no run can be.
"""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xent_bench.config.choices import choices_of
from xent_bench.config.command_line import as_typed
from xent_bench.config.configure import ConfigError
from xent_bench.config.explain import CONFIG_ERRORS, missing_key


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
        if not having or not lacking:
            raise
        commands = _commands(group, key, typed, lacking, having)
        raise ConfigError(
            key,
            f"a key of {' and '.join(having)}, not of {' and '.join(lacking)}; "
            f"a command for each: {'; '.join(commands)}",
        ) from error


def _commands(
    group: str, key: str, typed: Sequence[str], lacking: Sequence[str], having: Sequence[str]
) -> Iterator[str]:
    others = [word for word in as_typed(typed) if not word.startswith(f"{group}=")]
    without_key = [word for word in others if word.lstrip("+").partition("=")[0] != key]
    for words, choices in ((without_key, lacking), (others, having)):
        names = ",".join(choice.partition("=")[2] for choice in choices)
        yield shlex.join(["xent-train", *words, f"{group}={names}"])
