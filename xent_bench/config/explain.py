"""One line for an exception: what is wrong, what was expected, and where the user wrote it."""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from xent_bench.addresses import masked
from xent_bench.config.configure import ConfigError
from xent_bench.config.nearest import nearest
from xent_bench.config.schema import CONF
from xent_bench.exit_codes import CODES, Exit

CONFIG_ERRORS: tuple[type[Exception], ...] = (
    ConfigError,
    HydraException,
    OmegaConfBaseException,
    YAMLError,
)
USER_ERRORS: tuple[type[Exception], ...] = (*CONFIG_ERRORS, *CODES)


def refuse(error: Exception) -> NoReturn:
    """Print the line that explains the error to stderr, and exit with the error's code."""
    print(f"xent-train: {explain(error, sys.argv[1:])}", file=sys.stderr)
    sys.exit(exit_code(error))


def exit_code(error: Exception) -> int:
    """The exit code: USAGE for a configuration error, else that of `CODES`; 1 for a bug."""
    if isinstance(error, CONFIG_ERRORS):
        return Exit.USAGE
    return next(
        (code for kind, code in CODES.items() if isinstance(error, kind)), Exit.NOT_AS_EXPECTED
    )


def explain(error: Exception, argv: Sequence[str]) -> str:
    """Explain an error in one line; for an error in the configuration, also where it is."""
    if not isinstance(error, CONFIG_ERRORS):
        return _one_line(str(error))
    complaint, word = _complaint(error)
    return f"{_one_line(complaint)} ({_origin(word, argv)})"


def _one_line(text: str) -> str:
    return masked(" ".join(text.split()))


def _complaint(error: Exception) -> tuple[str, str]:
    """The complaint about a configuration, and the word by which to find it in the user's input."""
    if isinstance(error, ConfigError):
        return str(error), error.key
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if not group:
            return f"no config named {name}", name
        if name == "submitit_slurm":  # a file of the plugin, which is not installed
            return "hydra/launcher=slurm needs pip install 'xent-bench[slurm]'", "hydra/launcher"
        return f"{group}={name}: no such {group}; {nearest(name, error.options or ())}", name
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}: expected key=value", error.override
    if isinstance(error, YAMLError):
        return f"cannot read YAML: {error}", ""
    return _composition_complaint(error.__cause__ or error.__context__ or error)


def _composition_complaint(cause: BaseException) -> tuple[str, str]:
    """The complaint and the word for an error that Hydra met while it composed the config."""
    key = _full_key(cause)
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return f"{key}: no such key; {_near_keys(key, cause.parent_node)}", key
    first_line = str(cause).partition("\n")[0]
    if "Ambiguous value" in first_line:
        argument = first_line.split("'")[1]
        return f"{argument}: several values are a sweep, which needs -m", argument
    return (f"{key}: {first_line}" if key else first_line), key


def _full_key(error: BaseException) -> str:
    """The key that OmegaConf's error names; an empty string if it names none."""
    match = re.search(r"full_key: (\S+)", str(error))
    return match[1] if match else ""


def _near_keys(key: str, parent: Any) -> str:
    """Keys that may have been meant by one that does not exist in its parent."""
    if not isinstance(parent, DictConfig):
        return "see xent-train --help"
    above, dot, last = key.rpartition(".")
    siblings = _names(parent)
    if not above:  # lr, where optimizer.lr was meant
        deeper = [f"{top}.{key}" for top in siblings if key in _names(parent._get_node(top))]
        if deeper:
            return f"did you mean {' or '.join(deeper)}?"
    return nearest(last, siblings, prefix=above + dot)


def _names(node: Any) -> list[str]:
    """The keys of a config that a user may set."""
    if not isinstance(node, DictConfig):
        return []
    names = [str(name) for name in node]
    return [name for name in names if name != "hydra" and not name.startswith("_")]


def _origin(word: str, argv: Sequence[str]) -> str:
    """The place where the user wrote the word: the command line, or the first file that has it."""
    if any(word in (argument, *re.split(r"[=,+~\[\]]", argument)) for argument in argv if word):
        return "on the command line"
    last = re.escape(word.rpartition(".")[2])
    for file in _files(argv):
        if last and re.search(rf"\b{last}\b", file.read_text(errors="replace")):
            return f"in {file}"
    return "see xent-train --help"


def _files(argv: Sequence[str]) -> Iterator[Path]:
    """The YAML files chosen on the command line, the experiment's first, then train.yaml."""
    folders = [*_added_folders(argv), CONF]
    chosen = [argument.partition("=") for argument in argv]
    chosen.sort(key=lambda choice: choice[0] != "experiment")
    for group, _, names in chosen:
        for name in names.split(","):
            files = (folder / group / f"{name}.yaml" for folder in folders)
            yield from (file for file in files if file.is_file())
    yield CONF / "train.yaml"


def _added_folders(argv: Sequence[str]) -> Iterator[Path]:
    """The folders that --config-dir adds."""
    for flag, value in zip(argv, [*argv[1:], ""], strict=True):
        if flag in ("--config-dir", "-cd"):
            yield Path(value)
        elif flag.startswith("--config-dir="):
            yield Path(flag.partition("=")[2])
