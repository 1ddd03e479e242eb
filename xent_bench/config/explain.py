"""One line for an exception: what is wrong, what was expected, and where the user wrote it."""

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any, NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from xent_bench.config.choices import listed, owners, typed_for
from xent_bench.config.configure import ConfigError
from xent_bench.config.files import FileError
from xent_bench.config.nearest import nearest
from xent_bench.config.of_one_loss import of_one_loss
from xent_bench.config.schema import CONF, OWN
from xent_bench.exit_codes import CODES, Exit, one_line
from xent_bench.failures import named

CONFIG_ERRORS: tuple[type[Exception], ...] = (
    ConfigError,
    HydraException,
    OmegaConfBaseException,
    YAMLError,
)
USER_ERRORS: tuple[type[Exception], ...] = (*CONFIG_ERRORS, *CODES)
OVERRIDES = "xent_bench_overrides"  # the attribute of an error that holds those of the run at fault


def refuse(error: Exception, program: str = "xent-train") -> NoReturn:
    """Print the line that explains the error to stderr, and exit with the error's code."""
    print(f"{program}: {explain(error, sys.argv[1:])}", file=sys.stderr)
    sys.exit(exit_code(error))


def exit_code(error: Exception) -> int:
    """The exit code: USAGE for a configuration error, else that of `CODES`; 1 for a bug."""
    if isinstance(error, CONFIG_ERRORS):
        return Exit.USAGE
    return next(
        (code for kind, code in CODES.items() if isinstance(error, kind)), Exit.NOT_AS_EXPECTED
    )


def refuse_of_user(error: Exception, program: str) -> NoReturn:
    """Refuse a user's error, by a name that says what to do; raise one that is a bug of ours."""
    by_name = named(error)
    cause = by_name if isinstance(by_name, USER_ERRORS) else composition_error(error)
    if cause is None:
        raise error
    refuse(cause, program)


def composition_error(error: Exception) -> Exception | None:
    """An error that Hydra raised, as one that is the user's; None where it is a bug of ours.

    Hydra, and the parsers below it, raise anything for a config that they do not expect. Such an
    error has passed through Hydra after it had passed through the last module of ours.
    """
    if isinstance(error, CONFIG_ERRORS):
        return error
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    ours = [number for number, name in enumerate(modules) if name.startswith("xent_bench.")]
    after_ours = modules[ours[-1] + 1 :] if ours else modules
    if any(name.startswith("hydra.") for name in after_ours):
        return ConfigError("the config", _hydra_complaint(error))
    return error if isinstance(error, OSError) else None


def _hydra_complaint(error: Exception) -> str:
    if "Config group override must be" in str(error):  # for loss=null or loss=[ce]
        return "a group: expected the name of a choice, such as loss=focal"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"cannot be composed: {str(error) or type(error).__name__}"


def explain(error: Exception, argv: Sequence[str]) -> str:
    """Explain an error in one line; for an error in the configuration, also where it is."""
    if not isinstance(error, CONFIG_ERRORS):
        return one_line(str(error))
    complaint, word = _complaint(error)
    if isinstance(error, FileError):
        return one_line(complaint)
    if "no such key" in complaint and (names := owners(word, added_folders(argv))):
        complaint += f"; {word} is a key of {listed(names)}"
    return f"{one_line(complaint)} ({_origin(word, argv, overrides_of(error))})"


@contextmanager
def run_at_fault(overrides: Sequence[str]) -> Iterator[None]:
    """Add the overrides of a sweep's run to an error that its configuration raises here."""
    try:
        yield
    except CONFIG_ERRORS as error:
        setattr(error, OVERRIDES, tuple(overrides))
        raise


def overrides_of(error: Exception) -> tuple[str, ...]:
    """The overrides of the run that has the error; none where this is not known."""
    overrides: tuple[str, ...] = getattr(error, OVERRIDES, ())
    return overrides


def missing_key(error: Exception) -> str:
    """The key that an error says does not exist, such as loss.gamma; empty for another error."""
    complaint, word = _complaint(error)
    return word if "no such key" in complaint else ""


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
        known = nearest(name, {*(error.options or ())} - {OWN})
        if group == "experiment":
            known += f"; to file runs under a name of your own: name={name}"
        return f"{group}={name}: no such {group}; {known}", name
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override)), str(error.override)
    if isinstance(error, YAMLError):
        return f"cannot read YAML: {error}", ""
    return _composition_complaint(error.__cause__ or error.__context__ or error)


def _unreadable(word: str) -> str:
    """The complaint about a word that Hydra cannot parse, with the word as Hydra wants it."""
    complaint = f"cannot read {word!r}: expected key=value"
    key, equals, value = word.partition("=")
    if re.search(r"interval|\btag\b", value):
        return f"cannot read {word!r}; an interval is '{key}=tag(log,interval(1e-4,1e-1))'"
    if equals and (typed := quoted(key, value)):
        return f"{complaint}, with such a value in quotes: {typed}"
    meant = "" if equals else typed_for(word, "")
    return f"{complaint}; did you mean {meant}?" if meant else complaint


def quoted(key: str, value: str) -> str:
    """A key=value to paste into a shell, with the value quoted for Hydra; empty if none helps.

    The shell leaves a ~ within quotes as it is, so it is written out.
    """
    text = QuotedString(os.path.expanduser(value.strip("'\"")), Quote.double).with_quotes()
    try:
        OverridesParser.create().parse_overrides([f"{key}={text}"])
    except HydraException:
        return ""
    return shlex.quote(f"{key}={text}")


def _composition_complaint(cause: BaseException) -> tuple[str, str]:
    """The complaint and the word for an error that Hydra met while it composed the config."""
    key = _full_key(cause)
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return f"{key}: no such key; {_near_keys(key, cause.parent_node)}", key
    first_line = str(cause).partition("\n")[0]
    if "Ambiguous value" in first_line:
        argument = first_line.partition("'")[2].rpartition("'")[0]
        key, _, value = argument.partition("=")
        one_value = f"; as one value: {quoted(key, value)}" if "/" in value else ""
        return f"{argument}: several values are a sweep, which needs -m{one_value}", argument
    if "requires --multirun" in first_line:
        argument = first_line.partition("'")[2].rpartition("'")[0]
        return f"{argument}: a sweep, which needs -m", argument
    return (f"{key}: {first_line}{_as_range(key, first_line)}" if key else first_line), key


def _as_range(key: str, complaint: str) -> str:
    """How to type the numbers from 0 to 5, where 0..5, 0-5 or 0:5 was typed."""
    ends = re.search(r"Value '(\d{1,9})(?:\.\.+|-|:)(\d{1,9})'", complaint)
    return (
        f"; from {ends[1]} to {ends[2]}: -m '{key}=range({ends[1]},{int(ends[2]) + 1})'"
        if ends
        else ""
    )


def _full_key(error: BaseException) -> str:
    """The key that OmegaConf's error names; an empty string if it names none."""
    match = re.search(r"full_key: (\S+)", str(error))
    return match[1] if match else ""


def _near_keys(key: str, parent: Any) -> str:
    """Keys that may have been meant by one that does not exist in its parent."""
    if not isinstance(parent, DictConfig):
        return "see xent-train --help"
    above, dot, last = key.rpartition(".")
    # lr, where optimizer.lr was meant, data.cache for machine.cache, model.ema for ema
    root = parent._get_root()
    tops = _names(root)
    elsewhere = [f"{top}.{last}" for top in tops if last in _names(root._get_node(top))]
    elsewhere += [last] * (last in tops)
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    return nearest(last, _names(parent), prefix=above + dot)


def _names(node: Any) -> list[str]:
    """The keys of a config that a user may set."""
    if not isinstance(node, DictConfig):
        return []
    names = [str(name) for name in node]
    return [name for name in names if name != "hydra" and not name.startswith("_")]


def _origin(word: str, argv: Sequence[str], overrides: Sequence[str]) -> str:
    """The place where the user wrote the word: the command line, or the first file that has it.

    `overrides` are those of the run at fault: it has one value where `argv` has loss=ce,mine.
    """
    if any(word in (argument, *re.split(r"[=,+~\[\]]", argument)) for argument in argv if word):
        return "on the command line"
    keys = [argument.partition("=")[0] for argument in argv]
    if word and word in [one.key.lstrip("+") for key in keys if (one := of_one_loss(key))]:
        return "on the command line"  # as loss.focal.gamma
    last = re.escape(word.rpartition(".")[2])
    chosen = {override.partition("=")[0] for override in overrides}
    others = [argument for argument in argv if argument.partition("=")[0] not in chosen]
    for file in _files([*others, *overrides]):
        if word == f"{file.parent.name}._target_":  # which may be what the file lacks
            return f"in {file}"
        if last and re.search(rf"\b{last}\b", file.read_text(errors="replace")):
            return f"in {file}"
    return "see xent-train --help"


def _files(argv: Sequence[str]) -> Iterator[Path]:
    """The YAML files chosen on the command line, the experiment's first, then train.yaml."""
    folders = [*added_folders(argv), CONF]
    chosen = [argument.partition("=") for argument in argv]
    chosen.sort(key=lambda choice: choice[0] != "experiment")
    for group, _, names in chosen:
        for name in names.split(","):
            files = (folder / group / f"{name}.yaml" for folder in folders)
            yield from (file for file in files if os.path.isfile(file))  # also for a long name
    yield CONF / "train.yaml"


def added_folders(argv: Sequence[str]) -> Iterator[Path]:
    """The folders that --config-dir adds."""
    for flag, value in zip(argv, [*argv[1:], ""], strict=True):
        if flag in ("--config-dir", "-cd"):
            yield Path(value)
        elif flag.startswith("--config-dir="):
            yield Path(flag.partition("=")[2])
