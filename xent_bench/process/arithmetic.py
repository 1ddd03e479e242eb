"""Settings of torch that hold for the whole process and decide how numbers are rounded."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.utils import deterministic as new_memory

# with two threads in `arithmetic` at once the second would restore what the first had set
ONE_AT_A_TIME = threading.RLock()


def use_tf32(wanted: bool) -> None:
    """Multiply float32 with 10 bits of mantissa (TF32) on GPUs that can, or with all 23.

    Set for both kinds of products: torch's default is TF32 in convolutions alone.
    """
    torch.backends.cudnn.allow_tf32 = wanted
    torch.set_float32_matmul_precision("high" if wanted else "highest")


@contextmanager
def arithmetic(*, tf32: bool, deterministic: bool, threads: int) -> Iterator[None]:
    """Compute as a run did while the context lasts, then restore the settings of before.

    Threads enter it one after another, since the settings are those of the whole process.
    """
    with ONE_AT_A_TIME, _arithmetic(tf32, deterministic, threads):
        yield


@contextmanager
def plain_torch(device: str) -> Iterator[None]:
    """Compute by PyTorch's own defaults, then restore the settings of the program.

    The defaults are float32 for new tensors, on the CPU, without autocast on `device`, which is
    'cpu' or 'cuda'. With other settings a net has other weights and other outputs.
    """
    with ONE_AT_A_TIME, ExitStack() as settings:
        if (dtype := torch.get_default_dtype()) != torch.float32:
            settings.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            settings.enter_context(torch.device("cpu"))
        if torch.is_autocast_enabled(device):
            settings.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def _arithmetic(tf32: bool, deterministic: bool, threads: int) -> Iterator[None]:
    allowed, precision = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, filled = torch.backends.cudnn.benchmark, new_memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    before = torch.get_num_threads()
    try:
        use_tf32(tf32)
        if deterministic:  # as Lightning sets it: without it cuBLAS refuses to be deterministic
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = not deterministic
        new_memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.set_num_threads(threads)
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(was_deterministic, warn_only=warned)
        torch.backends.cudnn.benchmark = benchmark
        new_memory.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.set_num_threads(before)
