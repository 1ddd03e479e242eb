"""Links of a user's own losses, which a file of predictions may name only if the user says so."""

import argparse
from importlib import import_module

TRUST_HELP = (
    "a module of your own losses, which is imported; predictions may then be read by the links "
    "that it declares"
)


def trusted_module(name: str) -> str:
    """Import a module of losses, by which its links are declared: the type of an option --trust."""
    try:
        import_module(name)
    except Exception as error:  # a user's module may raise anything
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise argparse.ArgumentTypeError(f"cannot import {name}: {reason}") from error
    return name
