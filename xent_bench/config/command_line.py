"""The command line of xent-train before Hydra reads it: flags anywhere, mistakes in one line."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from xent_bench.config.choices import choices_of, is_key, typed_for
from xent_bench.config.configure import ConfigError
from xent_bench.config.nearest import nearest
from xent_bench.config.of_one_loss import is_one_value, of_one_loss
from xent_bench.config.own_code import with_own, without_own
from xent_bench.config.schema import GROUPS

MAX_WORD = 200_000  # characters; Hydra needs half a second for as many
MAX_NAME = 255  # characters of a file's name
MANY_DIGITS = re.compile(r"\d{1000}")  # Python reads up to 4300
MODES = ("run", "multirun", "cfg", "info", "shell_completion")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # all but the tab, which separates words in Hydra
EXAMPLES = {
    "loss": "loss=focal",
    "data": "data=digits",
    "model": "model=cnn",
    "optimizer": "optimizer=sgd",
    "schedule": "schedule=constant",
    "noise": "noise=symmetric",
    "imbalance": "imbalance=exponential",
    "shift": "shift=all",
    "machine": "machine=cpu",
    "experiment": "experiment=quickstart",
}
GROUP = re.compile(rf"(\+\+|\+|~)?({'|'.join(EXAMPLES)})(@[^=]*)?(?:=(.*))?")
SWEPT = re.compile(r"[^=]*=(.*,|glob\()")
PLAIN = re.compile(r"[\w.]+=[^(),]+")  # a key=value, of no sweep
ONE_CHOICE = re.compile(r"^([\w.]+)=choice\(([^(),]+)\)$")
NESTED_INTERVAL = re.compile(r"[^='\"]+=\s*[\[{][^'\"]*\binterval\(", re.S)
NO_CHOICE = re.compile(r"\s*(\{\s*\}|\[\s*(\[.*|\]))\s*")
# Hydra would create such a folder even for a command that is refused
PLACES = re.compile(
    r"\+*(hydra\.(?:run\.dir|sweep\.(?:dir|subdir)|output_subdir|job\.chdir))=.*", re.S
)
NO_FLAGS = {
    "--experimental-rerun": "the command of a run, typed again, goes on with it",
    **dict.fromkeys(
        ("--config-path", "-cp", "--config-name", "-cn"),
        "--config-dir FOLDER adds a folder to ours",
    ),
}


def flags_first(words: Sequence[str]) -> list[str]:
    """Check the words of a command line, and return them with the flags before the key=values.

    ConfigError for a flag that does not exist, for flags that do not go together, and for a word
    that no file and no key can have.
    """
    parser = get_args_parser()
    all_flags = [flag for action in parser._actions for flag in action.option_strings]
    for word in words:
        _check_characters(word)
        _check_flag(word, words, all_flags)
        _check_group(word)
        if match := PLACES.fullmatch(word):
            place = "machine.runs=FOLDER and name=NAME say where runs are kept"
            raise ConfigError(match[1], f"is set by xent-train; {place}")
    setattr(parser, "error", _refuse)  # noqa: B010  it would print the usage and exit
    options, unknown = parser.parse_known_intermixed_args(words)
    if unknown:
        _refuse_flag(unknown[0], words, all_flags)
    _check_together(options)
    flags = list(words)
    for override in reversed(options.overrides):
        del flags[len(flags) - 1 - flags[::-1].index(override)]
    folders = [Path(options.config_dir)] if options.config_dir else []
    if options.multirun:
        overrides = for_each_choice(options.overrides, folders)
    else:
        overrides = options.overrides
        _refuse_keys_of_one_loss(overrides, folders)
    return [*(flag for flag in flags if flag != "--"), *with_own(overrides)]


def for_each_choice(overrides: Sequence[str], folders: Sequence[Path] = ()) -> list[str]:
    """Make loss.gamma=2 beside loss=focal,dual_focal a sweep too, over this one value.

    Hydra composes a sweep first without what is swept, and would miss the key in the default loss.
    So it would miss loss.focal.gamma=2, which is a key of one loss of the sweep.
    """
    swept = [
        f"{group}."
        for group in GROUPS
        if any(SWEPT.match(word) for word in overrides if word.startswith(f"{group}="))
    ]
    return [_as_choice(word) if _is_one_value(word, swept, folders) else word for word in overrides]


def _is_one_value(word: str, groups: Sequence[str], folders: Sequence[Path]) -> bool:
    key, _, value = word.partition("=")
    if of_one_loss(key, folders):
        return bool(value) and is_one_value(word)
    return word.startswith(tuple(groups)) and PLAIN.fullmatch(word) is not None


def _as_choice(word: str) -> str:
    key, _, value = word.partition("=")
    return f"{key}=choice({value})"


def _refuse_keys_of_one_loss(overrides: Sequence[str], folders: Sequence[Path]) -> None:
    """Refuse loss.focal.gamma=2 in a command that trains one run."""
    losses = choices_of("loss", folders)
    for word in overrides:
        key, _, value = word.partition("=")
        one = of_one_loss(key, folders)
        if one is None:
            continue
        if one.loss in losses:
            typed = f"loss={one.loss} {one.key}={value}"
            raise ConfigError(key.lstrip("+"), f"is a key for a sweep, with -m; expected {typed}")
        meant = nearest(one.loss, losses, prefix="loss=")
        if meant.startswith("did you mean"):
            raise ConfigError(key.lstrip("+"), f"no such loss; {meant}")


def as_typed(words: Sequence[str]) -> list[str]:
    """The words of a command before `flags_first` changed them for Hydra."""
    return [ONE_CHOICE.sub(r"\1=\2", word) for word in without_own(words)]


def _refuse(message: str) -> NoReturn:
    """Raise argparse's complaint, such as 'argument --cfg/-c: invalid choice: ...'."""
    flag, _, complaint = message.removeprefix("argument ").partition(": ")
    raise ConfigError(flag, complaint) if complaint else ConfigError("the command line", message)


def _check_characters(word: str) -> None:
    if len(word) > MAX_WORD:
        raise ConfigError(word, f"expected at most {MAX_WORD:,} characters, got {len(word):,}")
    name, _, value = word.partition("=")
    if len(name) > MAX_NAME:
        raise ConfigError(word, f"no such key; a name of {len(name):,} characters")
    if len(value) > MAX_NAME and (match := GROUP.fullmatch(word)) and value.isidentifier():
        raise ConfigError(word, f"no such {match[2]}; a name of {len(value):,} characters")
    if MANY_DIGITS.search(word):
        raise ConfigError(name, f"expected a number of fewer digits, got {len(value):,}")
    if NESTED_INTERVAL.match(word):  # which Hydra accepts, and then cannot put into a config
        raise ConfigError(name, "an interval is no part of a list; expected it alone")
    if CONTROL.search(word.replace("\n", "") if name == "notes" else word):
        raise ConfigError(repr(word), "holds a line break or another control character")
    if re.search("[\ud800-\udfff]", word):
        raise ConfigError(ascii(word), "is not UTF-8; rename the file, or type it as UTF-8")


def _check_flag(word: str, words: Sequence[str], flags: Sequence[str]) -> None:
    """Refuse --experiment=mine, which is also the beginning of a flag of Hydra's."""
    flag, _, _ = word.partition("=")
    if flag in NO_FLAGS:
        raise ConfigError(flag, f"xent-train does not take it; {NO_FLAGS[flag]}")
    if word.startswith("-") and flag not in flags and is_key(flag.lstrip("-")):
        _refuse_flag(word, words, flags)


def _check_group(word: str) -> None:
    """Refuse +loss=ce, loss=[] and loss@x=ce, which Hydra takes and nobody can want."""
    match = GROUP.fullmatch(word)
    if match is None:
        return
    before, group, package, value = match.groups()
    if before == "~" and package is None:
        raise ConfigError(group, f"a run needs one; expected {group}=NAME")
    if before or package:
        raise ConfigError(word, f"expected {group}={value or 'NAME'}, without {before or package}")
    if value is None:
        return
    if NO_CHOICE.fullmatch(value) or (group in GROUPS and value.startswith("[")):
        more = f", or several with -m: {group}=NAME,NAME"
        raise ConfigError(group, f"expected the name of a choice, such as {EXAMPLES[group]}{more}")


def _refuse_flag(word: str, words: Sequence[str], flags: Sequence[str]) -> NoReturn:
    """Raise the error for --loss=ce, for --loss followed by ce, for -loss and for -M."""
    name, _, value = word.lstrip("-").partition("=")
    after = words[words.index(word) + 1 :]
    if not value and after and not after[0].startswith("-") and "=" not in after[0]:
        value = after[0]
    typed = typed_for(name, value)
    if word == word.upper() and word.lower() in flags:
        typed = word.lower()
    meant = f"did you mean {typed}?" if typed else nearest(word, flags)
    raise ConfigError(word, f"no such flag; {meant}")


def _check_together(options: argparse.Namespace) -> None:
    if options.resolve and not (options.cfg or options.help):
        raise ConfigError("--resolve", "resolves what --cfg shows; expected --cfg job --resolve")
    if options.package is not None and not options.cfg:
        raise ConfigError("--package", "is the part that --cfg shows; expected --cfg job beside it")
    modes = [f"--{mode.replace('_', '-')}" for mode in MODES if getattr(options, mode)]
    if len(modes) > 1:
        raise ConfigError(modes[0], f"does not go together with {' and '.join(modes[1:])}")
    folder = options.config_dir
    if folder is not None and not Path(folder).is_dir():
        raise ConfigError("--config-dir", f"no folder {folder} here; {_folders_here()}")


def _folders_here() -> str:
    """The folders of the working directory that are laid out like conf/, as a way out."""
    groups = (*GROUPS, "experiment")
    folders = [
        folder.name
        for folder in sorted(Path().iterdir())
        if any((folder / group).is_dir() for group in groups)
    ]
    if folders:
        return f"did you mean {' or '.join(folders)}?"
    return "expected one laid out as conf/, for example with loss/NAME.yaml in it"
