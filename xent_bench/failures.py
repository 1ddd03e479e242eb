"""Errors of a run whose configuration is right; `exit_codes.py` has their exit codes."""

import traceback

from xent_bench.addresses import masked
from xent_bench.device_faults import Kind, fault_of


class DataError(ValueError):
    """The data set is missing, damaged or of a wrong form; the message says what to do."""


class UsageError(ValueError):
    """An option names something that is not there; the message says what there is."""


class Unavailable(RuntimeError):
    """The tracking store, the device or something else that a run needs cannot be used."""


class OutOfMemory(Unavailable):
    """Too little memory was left, or a process of the run was killed for want of it.

    Other programs may have used the memory, so another try may succeed.
    """


class ProcessEnded(Unavailable):
    """One of the processes that train a run together was killed, or ended without an error."""


class PeerLost(ProcessEnded):
    """Another of the processes that train a run together is gone or silent, as this one sees it.

    Why it is gone, it says itself, or its exit code does.
    """


class Unreachable(Unavailable):
    """The tracking store cannot be reached when a run begins."""


class Diverged(ArithmeticError):
    """The loss or an output of the net is infinite or not a number."""


KINDS = {Kind.MEMORY: OutOfMemory, Kind.PEER: PeerLost, Kind.DEVICE: Unavailable}


def named(error: BaseException) -> BaseException:
    """Translate a library's error into one that says what to do; return other errors unchanged."""
    reason = str(error).partition("\n")[0]
    kind = type(error)
    if is_of_compiler(error):
        return Unavailable(f"machine.compile: {kind.__name__}: {reason}")
    if isinstance(error, MemoryError):  # often has no message
        return OutOfMemory(f"not enough memory: {reason or 'none is left'}")
    if isinstance(error, RuntimeError | AssertionError) and not isinstance(error, Unavailable):
        return _named_by_text(error) or error  # torch's OutOfMemoryError is one
    return error


def _named_by_text(error: BaseException) -> Unavailable | None:
    reason, kind = str(error).partition("\n")[0], type(error)
    fault = fault_of(str(error))
    if fault is not None:
        return KINDS[fault.kind](f"{fault.advice}: {fault.line}")
    if kind.__module__.startswith("torch") and kind.__name__.startswith("Dist"):
        return PeerLost(f"the processes of the run cannot exchange data: {reason}")
    if "does not have a deterministic implementation" in str(error):
        return Unavailable(f"machine.deterministic=false may help: {reason}")
    return None


def is_of_compiler(error: BaseException) -> bool:
    """Whether the error is of torch.compile, or of torch.export, which records with the same."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def raise_fault(error: BaseException) -> None:
    """Raise a fault of the device or of memory by its name; return if the error is none.

    For code that takes whatever a user's net or loss raises for a mistake of theirs.
    """
    by_name = named(error)
    if by_name is not error:
        raise by_name from error


def reason(error: BaseException) -> str:
    """The reason why a run ended: 'interrupted', or the type and the message of the error."""
    translated = named(error)
    if isinstance(translated, KeyboardInterrupt):
        return "interrupted"
    return f"{type(translated).__name__}: {masked(translated)}"


def worth_another_try(error: BaseException) -> bool:
    """Whether the run may succeed a little later.

    Memory or disk was full, a disk was away, or one of its processes was killed.
    """
    lasting = FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError
    return isinstance(error, OutOfMemory | ProcessEnded | OSError) and not isinstance(
        error, lasting
    )


def release(error: BaseException | None) -> None:
    """Free what the traceback of a failed run keeps alive: the net, memory of a GPU."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
