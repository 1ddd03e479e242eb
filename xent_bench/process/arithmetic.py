"""Settings of torch that hold for the whole process and decide how numbers are rounded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import deterministic as new_memory


def use_tf32(wanted: bool) -> None:
    """Multiply float32 with 10 bits of mantissa (TF32) on GPUs that can, or with all 23.

    Set for both kinds of products: torch's default is TF32 in convolutions alone.
    """
    torch.backends.cudnn.allow_tf32 = wanted
    torch.set_float32_matmul_precision("high" if wanted else "highest")


@contextmanager
def arithmetic(*, tf32: bool, deterministic: bool, threads: int) -> Iterator[None]:
    """Compute as a run did while the context lasts, then restore the settings of before."""
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
