"""xent-losses: show the losses, their formulas and their certificates."""

import argparse
import inspect
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xent_bench.arguments import Parser
from xent_bench.exit_codes import Exit, exit_codes_help, quiet_ending
from xent_bench.process.streams import replace_what_cannot_be_shown
from xent_bench.tables import FORMS, print_csv, print_heading, print_names, print_text

if TYPE_CHECKING:
    from xent_bench.certificates.certify import Certificate

CLASSES = 10  # for which properties are computed, if nothing is said
NEXT = {
    "xent-losses NAME": "formula, source and properties of a loss",
    "xent-losses --all": "formulas and properties of all of them, in two tables",
    "xent-train loss=NAME": "train with one",
    "xent-advise --need accuracy": "which of them for what I need, by the runs at hand",
}


def main() -> None:
    """Run the console script xent-losses."""
    replace_what_cannot_be_shown()
    options = _parser().parse_intermixed_args()
    from xent_bench.config.configure import ConfigError

    logging.getLogger("hydra").setLevel(logging.CRITICAL)  # Hydra would print our message again
    with quiet_ending():
        try:
            if options.at is None:
                if options.true is not None or options.target is not None:
                    raise ConfigError("--at", "expected scores, as in --at dog=-3.4,cat=1.2")
                _show_as_asked(options)
            else:
                show_at(options)
        except ConfigError as error:
            print(f"xent-losses: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(Exit.USAGE)


def _show_as_asked(options: argparse.Namespace) -> None:
    """Print the overview where nothing was asked for, else tables."""
    is_technical = options.all or options.classes is not None or options.format != "table"
    if options.choice or is_technical:
        show(options.choice, options.config_dir, options.classes or CLASSES, options.format)
    else:
        show_overview(options.config_dir)


def show_overview(folder: Path | None) -> None:
    """Print what each loss is for, in a few words, by groups; then what to type next.

    Losses in `folder`/loss are among them; ConfigError if one of these is bad.
    """
    from xent_bench.certificates.overview import described, groups_with

    files = _files(folder)
    names = sorted(files.keys() - described())
    others = {}
    if names:  # reading a formula imports PyTorch, which takes seconds
        from xent_bench.certificates.catalogue import formula

        others = {name: formula(loss) for name, loss in load_losses(names, (), folder).items()}
    width = max(map(len, files)) + 2
    print_text([f"{len(files)} losses by what they were made for, in a few words."])
    for group in groups_with(others):
        print_heading(group.purpose)
        print_names(group.losses, width)
    print_heading("Next")
    print_names(NEXT, max(map(len, NEXT)) + 2)


def show(choice: Sequence[str], folder: Path | None, classes: int, form: str) -> None:
    """Print formulas and certificates of the losses named in `choice`, or of all losses.

    Words of `choice` such as gamma=5 set a hyper-parameter of each named loss. ConfigError if there
    are such words and no name.
    """
    from xent_bench.certificates.catalogue import formula, formulas, properties, settings

    losses = _chosen(choice, folder)
    certificates = _certify(losses, classes)
    if form == "csv":
        print_csv(
            [
                {"loss": name, "value": formula(loss), "settings": settings(loss)}
                | vars(certificates[name])
                for name, loss in losses.items()
            ]
        )
        return
    code = "`{}`" if form == "markdown" else "{}"
    FORMS[form](formulas(losses, code))
    FORMS[form](properties(certificates, classes, code))
    if _named(choice) and form == "table":
        for loss in losses.values():
            _explain(loss)


def show_at(options: argparse.Namespace) -> None:
    """Print the losses at the scores of one image, and every step from these to probabilities."""
    from xent_bench.certificates import worked_example

    given = worked_example.example(options.at, options.true, options.target)
    at = worked_example.losses_at(_chosen(options.choice, options.config_dir), given)
    if options.format == "csv":
        print_csv(worked_example.loss_records(at, given))
        return
    FORMS[options.format](worked_example.steps_table(given))
    FORMS[options.format](worked_example.losses_table(at, given))


def _chosen(choice: Sequence[str], folder: Path | None) -> "dict[str, partial[Any]]":
    """Configure the losses that the words name, or all; words such as gamma=5 change each."""
    from xent_bench.config.configure import ConfigError

    names = _named(choice)
    changes = [word for word in choice if not _is_name(word)]
    if changes and not names:
        raise ConfigError(changes[0], "of which loss? Expected a name before it")
    return load_losses(names, [change.removeprefix("loss.") for change in changes], folder)


def _named(choice: Sequence[str]) -> list[str]:
    """Names of the losses among the words: focal, ce,mse or loss=hinge."""
    words = [word.removeprefix("loss=") for word in choice if _is_name(word)]
    return [name for word in words for name in word.split(",")]


def _is_name(word: str) -> bool:
    return "=" not in word or word.startswith("loss=")


def load_losses(
    names: Sequence[str], changes: Sequence[str] = (), folder: Path | None = None
) -> "dict[str, partial[Any]]":
    """Configure these losses of conf/loss and `folder`/loss, or all if none is named.

    `changes` are key=value settings for each of them. ConfigError for a name or a file that is bad.
    """
    from xent_bench.config.configure import ConfigError
    from xent_bench.config.nearest import nearest

    files = _files(folder)
    losses = {}
    for name in names or sorted(files):
        if name not in files:
            raise ConfigError(name, f"no such loss; {nearest(name, files)}")
        try:
            losses[name] = _load(files[name], changes)
        except Exception as error:  # a user's file or module may raise anything
            raise ConfigError(name, str(error)) from error
    return losses


def _files(folder: Path | None) -> dict[str, Path]:
    """The YAML files of our losses and of those in `folder`, by name; ConfigError for a name twice.

    ConfigError too where a folder is given that has no losses.
    """
    from xent_bench.config.configure import ConfigError
    from xent_bench.config.schema import CONF

    ours = {file.stem: file for file in sorted((CONF / "loss").glob("*.yaml"))}
    theirs = (
        {} if folder is None else {file.stem: file for file in (folder / "loss").glob("*.yaml")}
    )
    if folder is not None and not theirs:
        raise ConfigError("--config-dir", f"expected a folder with loss/NAME.yaml in it: {folder}")
    for name in sorted(ours.keys() & theirs.keys()):
        raise ConfigError(str(theirs[name]), f"{name} is one of ours; call yours otherwise")
    return ours | theirs


def _load(file: Path, changes: Sequence[str]) -> "partial[Any]":
    """Configure the loss of one YAML file with these changes; ConfigError if a value is missing."""
    from omegaconf import DictConfig, OmegaConf

    from xent_bench.config.configure import ConfigError, configured
    from xent_bench.config.files import naming

    changed = OmegaConf.from_dotlist([*changes])
    with naming(file):
        loaded = OmegaConf.load(file)
    node = OmegaConf.merge(loaded, changed)
    for missing in OmegaConf.missing_keys(node) | OmegaConf.missing_keys(changed):
        raise ConfigError(f"loss.{missing}", "has to be given")
    if not isinstance(node, DictConfig) or not isinstance(node.get("_target_"), str):
        raise ConfigError("loss._target_", f"expected a dotted name in {file}")
    return configured(OmegaConf.create({"loss": node}), "loss")


def _certify(losses: "dict[str, partial[Any]]", classes: int) -> "dict[str, Certificate]":
    """Certify these losses, with a progress bar; ConfigError names a loss that fails."""
    import torch
    from rich.console import Console
    from rich.progress import track

    from xent_bench.certificates.remembered import certificate_of
    from xent_bench.config.configure import ConfigError

    torch.set_num_threads(1)  # the operations are small: threads would only wait
    console = Console(stderr=True)
    certificates = {}
    for name in track(
        losses, "Certifying", console=console, transient=True, disable=len(losses) < 3
    ):
        try:
            certificates[name] = certificate_of(losses[name], classes)
        except Exception as error:  # a user's loss may raise anything
            kind = type(error).__name__
            raise ConfigError(name, f"cannot be certified: {kind}: {error}") from error
    return certificates


def _explain(loss: "partial[Any]") -> None:
    """Print the docstrings of the loss's module and function: its source and what it does."""
    for documented in (inspect.getmodule(loss.func), loss.func):
        print(f"\n{inspect.getdoc(documented) or ''}")


def _classes(text: str) -> int:
    """Parse a number of classes, at least 2."""
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 2, got {text!r}")
    return int(text)


def _parser() -> Parser:
    parser = Parser(
        prog="xent-losses",
        description="Says what each loss is for; of the losses that are named, the formula, and "
        "properties computed from the function.",
        epilog="xent-losses focal gamma=5 --classes 100: one loss, explained. "
        + exit_codes_help(Exit.USAGE),
    )
    parser.add_argument(
        "choice", nargs="*", help="names of losses, and key=value settings for each of them"
    )
    parser.add_argument(
        "--all", action="store_true", help="formulas and properties of all losses, in two tables"
    )
    parser.add_argument(
        "--classes", type=_classes, help=f"classes for which properties are computed ({CLASSES})"
    )
    parser.add_argument(
        "--format", choices=[*FORMS, "csv"], default="table", help="table is for the terminal"
    )
    parser.add_argument(
        "--at",
        metavar="CLASS=SCORE,...",
        help="show instead the losses at these scores of one image: --at dog=-3.4,cat=1.2 "
        "--true cat",
    )
    label = parser.add_mutually_exclusive_group()
    label.add_argument("--true", metavar="CLASS", help="the true class of the image")
    label.add_argument("--target", metavar="CLASS=SHARE,...", help="or its label as a distribution")
    parser.add_argument("--config-dir", type=Path, help="a folder with your own loss/NAME.yaml")
    return parser
