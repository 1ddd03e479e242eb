"""xent-losses: every loss that can be chosen, its formula and its certificate."""

import argparse
import inspect
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xent_bench.tables import FORMS, print_csv

if TYPE_CHECKING:
    from xent_bench.certificate import Certificate


def main() -> None:
    """The console script."""
    options = _parser().parse_args()
    from xent_bench.configure import ConfigError

    try:
        show(options.choice, options.config_dir, options.classes, options.format)
    except BrokenPipeError:  # xent-losses | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ConfigError as error:
        print(f"xent-losses: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def show(choice: Sequence[str], folder: Path | None, classes: int, form: str) -> None:
    """Print the losses named in `choice`, or all, with its key=value changes made to each."""
    from xent_bench.catalogue import formulas, properties

    names = [word for word in choice if "=" not in word]
    changes = [word.removeprefix("loss.") for word in choice if "=" in word]
    losses = load_losses(names, changes, folder)
    certificates = _certify(losses, classes)
    if form == "csv":
        print_csv([{"loss": name} | vars(each) for name, each in certificates.items()])
        return
    code = "`{}`" if form == "markdown" else "{}"
    FORMS[form](formulas(losses, code))
    FORMS[form](properties(certificates, classes, code))
    if names and form == "table":
        for loss in losses.values():
            _explain(loss)


def load_losses(
    names: Sequence[str], changes: Sequence[str] = (), folder: Path | None = None
) -> "dict[str, partial[Any]]":
    """The configured losses of conf/loss and of `folder`/loss; a ConfigError for a bad one."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from xent_bench.configure import ConfigError, configured, nearest
    from xent_bench.schema import CONF

    if folder is not None and not (folder / "loss").is_dir():
        raise ConfigError("--config-dir", f"expected a folder with a folder loss in it: {folder}")
    folders = [CONF] if folder is None else [CONF, folder]
    files = {file.stem: file for each in folders for file in sorted((each / "loss").glob("*.yaml"))}
    losses = {}
    for name in names or sorted(files):
        if name not in files:
            raise ConfigError(name, f"no such loss; {nearest(name, files)}")
        try:
            node = OmegaConf.merge(OmegaConf.load(files[name]), OmegaConf.from_dotlist([*changes]))
            losses[name] = configured(OmegaConf.create({"loss": node}), "loss")
        except (ConfigError, OmegaConfBaseException, YAMLError) as error:
            raise ConfigError(name, str(error)) from error
    return losses


def _certify(losses: "dict[str, partial[Any]]", classes: int) -> "dict[str, Certificate]":
    import torch
    from rich.console import Console
    from rich.progress import track

    from xent_bench.certificate import certify
    from xent_bench.configure import ConfigError

    torch.set_num_threads(1)  # the steps are small
    console = Console(stderr=True)
    certificates = {}
    for name in track(
        losses, "Certifying", console=console, transient=True, disable=len(losses) < 3
    ):
        try:
            certificates[name] = certify(losses[name], classes)
        except (RuntimeError, TypeError, ValueError) as error:  # whatever a stranger's loss raises
            raise ConfigError(name, f"cannot be certified: {error}") from error
    return certificates


def _explain(loss: "partial[Any]") -> None:
    """Where it comes from and what it does, in its author's words."""
    for source in (inspect.getmodule(loss.func), loss.func):
        print(f"\n{inspect.getdoc(source) or ''}")


def _classes(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 2, got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xent-losses",
        description="Every loss that can be chosen: formula, and properties computed from it.",
        epilog="xent-losses focal gamma=5 --classes 100: one loss, explained. Exit codes: 0 done, "
        "2 bad usage.",
    )
    parser.add_argument("choice", nargs="*", help="losses (all), and key=value to change in each")
    parser.add_argument("--classes", type=_classes, default=10, help="how many (10)")
    parser.add_argument(
        "--format", choices=[*FORMS, "csv"], default="table", help="table for the terminal"
    )
    parser.add_argument("--config-dir", type=Path, help="a folder with your own loss/NAME.yaml")
    return parser
