"""The parser of the commands' options: a mistake is one line, and exit code 2."""

import argparse
import re
import sys
from pathlib import Path
from typing import NoReturn

from xent_bench.config.nearest import nearest
from xent_bench.exit_codes import Exit, one_line


class Parser(argparse.ArgumentParser):
    """argparse's parser without the lines of usage, which bury what was wrong."""

    def error(self, message: str) -> NoReturn:
        """Print what was wrong and what may have been meant, and exit."""
        print(f"{self.prog}: {self._complaint(message)} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(Exit.USAGE)

    def _complaint(self, message: str) -> str:
        if words := message.partition("unrecognized arguments: ")[2]:
            word = words.partition(" ")[0]
            flags = [flag for action in self._actions for flag in action.option_strings]
            if not word.startswith("-"):
                return f"{one_line(words)}: one too many; it takes {self._takes()}"
            return f"{one_line(word)}: no such option; {nearest(word.partition('=')[0], flags)}"
        message = message.removeprefix("argument ")
        if match := re.fullmatch(r"(.*): invalid choice: '?(.*?)'? \(choose from .*\)", message):
            option, value = match.groups()
            meant = nearest(value, self._choices(option))
            return f"{option}: invalid choice: {one_line(value)!r}; {meant}"
        return one_line(message)

    def _choices(self, option: str) -> list[str]:
        """The values that an option can have; argparse names it with all its flags: --port/-p."""
        for action in self._actions:
            if option in ("/".join(action.option_strings), action.dest, action.metavar):
                return [str(choice) for choice in action.choices or ()]
        return []

    def _takes(self) -> str:
        names = [action.metavar or action.dest for action in self._get_positional_actions()]
        return " ".join(map(str, names)) or "no words but options"


def existing_folder(text: str) -> Path:
    """The folder that an option names; argparse's error if there is none."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"no folder {text} here")
    return Path(text)
