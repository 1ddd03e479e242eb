"""Links of a user's own losses, which a file of predictions may name only if the user says so."""

import argparse
from importlib import import_module


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the option --trust to a command that reads predictions."""
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of your own losses, which is imported; predictions may then be read by the "
        "links that it declares",
    )


def import_trusted(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Import the modules that --trust names, by which their links are declared.

    A complaint of the parser's, with exit code 2, for one that cannot be imported.
    """
    for name in options.trust:
        try:
            import_module(name)
        except Exception as error:  # a user's module may raise anything
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            parser.error(f"--trust: cannot import {name}: {reason}")
