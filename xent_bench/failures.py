"""What can go wrong with a run whose configuration is right, and the exit code of each."""

import traceback


class DataError(ValueError):
    """The data are not there, or not what they should be; the message says the way out."""


class Unavailable(RuntimeError):
    """The tracking store or the device cannot be had."""


class OutOfMemory(Unavailable):
    """Others may have had it, or have ended a part of the run for its sake: worth another try."""


class ProcessEnded(Unavailable):
    """One of the processes that train a run together was killed, or left without a word."""


class Unreachable(Unavailable):
    """The tracking store, when a run wants to begin."""


class Diverged(ArithmeticError):
    """The loss stopped being a number."""


def named(error: BaseException) -> BaseException:
    """What a library raised, as what a user can act on; other errors as they are."""
    reason = str(error).partition("\n")[0]
    kind = type(error)
    if kind.__module__.startswith(("torch._dynamo", "torch._inductor")):
        return Unavailable(f"machine.compile: {kind.__name__}: {reason}")
    if isinstance(error, MemoryError):  # often without a word
        return OutOfMemory(f"not enough memory: {reason or 'none is left'}")
    if isinstance(error, RuntimeError):  # torch's OutOfMemoryError is the first
        if "out of memory" in str(error) or "allocate" in str(error):
            return OutOfMemory(f"not enough memory: {reason}")
        if "does not have a deterministic implementation" in str(error):
            return Unavailable(f"machine.deterministic=false may help: {reason}")
        if "DataLoader worker" in str(error):
            return OutOfMemory("a process that decodes images died: fewer machine.workers may help")
    return error


def reason(error: BaseException) -> str:
    """Why a run ended, in words."""
    told = named(error)
    if isinstance(told, KeyboardInterrupt):
        return "interrupted"
    return f"{type(told).__name__}: {told}"


def worth_another_try(error: BaseException) -> bool:
    """Whether the same run may succeed a little later: memory, room, a disk that is away."""
    lasting = FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError
    return isinstance(error, OutOfMemory | OSError) and not isinstance(error, lasting)


def release(error: BaseException | None) -> None:
    """Let go of what a failed run left in the frames that it passed: a net, a GPU's memory."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
