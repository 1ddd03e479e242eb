"""Lines for the user."""

from contextlib import suppress


def say(line: str) -> None:
    """At once."""
    with suppress(BrokenPipeError):  # xent-train | head: training goes on
        print(line, flush=True)


def runs(n: int) -> str:
    """A number of them."""
    return "1 run" if n == 1 else f"{n} runs"
