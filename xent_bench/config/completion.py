"""Shell completion of lines that Hydra's completion cannot read.

Hydra splits the line at its blanks, so it fails at 'optimizer.lr=interval(1e-4,1e-1)', whose quotes
are for the shell, and it has no keys of one loss.
"""

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from xent_bench.config.choices import choices_of
from xent_bench.config.command_line import for_each_choice
from xent_bench.config.explain import added_folders
from xent_bench.config.of_one_loss import of_one_loss

LINE = "COMP_LINE"  # the variable with the line to be completed


def is_completed(words: Sequence[str]) -> bool:
    """Whether a line to be completed was completed here; else it is changed to one for Hydra.

    `words` are those of our own command line, where Hydra's script asks for a completion.
    """
    line = os.environ.get(LINE, "")
    if not line or not any(word.startswith("query=") for word in words):
        return False
    before, _, last = line.rpartition(" ")
    typed = before.split()
    with suppress(ValueError):  # an open quote
        typed = shlex.split(before)
    folders = list(added_folders(typed))
    if suggestions := _keys_of_one_loss(last, folders):
        print("\n".join(suggestions))
        return True
    kept = [word for word in for_each_choice(typed[1:], folders) if _is_readable(word)]
    os.environ[LINE] = " ".join([*typed[:1], *kept, last])
    return False


def _keys_of_one_loss(word: str, folders: Sequence[Path]) -> list[str]:
    """The keys that begin as the word does: loss.focal.gamma= for loss.focal.g."""
    one = of_one_loss(f"{word}x", folders)  # the word may end with a dot
    keys = choices_of("loss", folders).get(one.loss, []) if one else []
    suggestions = [f"loss.{one.loss}.{key}=" for key in keys] if one else []
    return [suggestion for suggestion in suggestions if suggestion.startswith(word)]


def _is_readable(word: str) -> bool:
    """Whether Hydra's completion, which splits at blanks, can read a word."""
    if word != "".join(word.split()):
        return False
    if "=" not in word:  # a flag, or the folder after --config-dir
        return True
    try:
        return bool(OverridesParser.create().parse_override(word))
    except HydraException:
        return False
