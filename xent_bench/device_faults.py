"""Errors of CUDA, cuDNN, NCCL and gloo, recognised by their text: what each means, what to do.

The libraries raise a RuntimeError for all of them, whose text alone tells them apart.
"""

import re
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """Kinds of faults, by what a sweep does about them."""

    MEMORY = "memory"  # another try may succeed
    PEER = "peer"  # another process of the run is gone or silent: likewise
    DEVICE = "device"  # it stays until somebody acts


class Fault(NamedTuple):
    """A fault, what to do about it, and the line of the library that tells it."""

    kind: Kind
    advice: str
    line: str


MEMORY = "not enough memory"
WATCHDOG = "another process of the run was silent for machine.rank_timeout"
GONE = "another process of the run has ended"
DRIVER = "install a newer NVIDIA driver, or a build of torch for the driver that is there"
BUSY = "another program has the GPU to itself: choose another one by CUDA_VISIBLE_DEVICES, or wait"
BROKEN = "the GPU has failed: have it reset (nvidia-smi --gpu-reset), choose another one until then"
NONE = "torch finds no GPU: see nvidia-smi and CUDA_VISIBLE_DEVICES, or use machine=cpu"
CRASHED = (
    "the GPU's program crashed, often by an index out of range in a loss or net: machine=cpu, or "
    "CUDA_LAUNCH_BLOCKING=1, shows where"
)
ARCHITECTURE = "this build of torch has no code for this GPU: install one that has"
FABRIC = "the links between the GPUs are not ready: nvidia-fabricmanager must run, as an admin sees"
LIBRARY = "libraries of another version are in the way: unset LD_LIBRARY_PATH, or reinstall torch"
FAILED = "the GPU or its driver failed: nvidia-smi shows its state, machine=cpu does without it"
NETWORK = (
    "the processes cannot exchange data: NCCL_DEBUG=INFO shows why, NCCL_P2P_DISABLE=1 may help"
)
COMPILER = "machine.compile needs a C compiler: install gcc, or use machine.compile=none"

# The first pattern that matches a line of the error decides: causes stand before consequences.
FAULTS: list[tuple[str, Kind, str]] = [
    (r"out of memory|not enough memory|allocate", Kind.MEMORY, MEMORY),
    (r"(STATUS|CUFFT|_RESULT)_ALLOC_FAILED|ALLOCATION_FAILED", Kind.MEMORY, MEMORY),
    # what cuBLAS and cuDNN say when they find no room for their workspace
    (r"CUBLAS_STATUS_NOT_INITIALIZED|CUDNN_STATUS_NOT_INITIALIZED", Kind.MEMORY, MEMORY),
    (r"[Uu]nable to find (an engine|a valid cuDNN algorithm)", Kind.MEMORY, MEMORY),
    (r"[Cc]an't start new thread", Kind.MEMORY, "no room for a thread: see ulimit -u and -v"),
    (r"busy or unavailable|exclusive-process", Kind.DEVICE, BUSY),
    (r"ECC error|GPU is lost|fallen off the bus|hardware stack error", Kind.DEVICE, BROKEN),
    (r"contained error|NVLink error|nvlink error", Kind.DEVICE, BROKEN),
    (r"driver on your system is too old", Kind.DEVICE, DRIVER),
    (r"driver version is insufficient|unsupported toolchain", Kind.DEVICE, DRIVER),
    (r"[Ee]rror 80[34]\b|unsupported display driver", Kind.DEVICE, DRIVER),
    (r"forward compatibility was attempted", Kind.DEVICE, DRIVER),
    (r"[Ee]rror 802\b|system not yet initialized", Kind.DEVICE, FABRIC),
    (r"no kernel image|invalid device function|NoBinaryForGpu", Kind.DEVICE, ARCHITECTURE),
    (r"ARCH_MISMATCH|no kernel found|not compatible with the current", Kind.DEVICE, ARCHITECTURE),
    (r"Duplicate GPU detected", Kind.DEVICE, "two processes got one GPU: fewer machine.devices"),
    (r"invalid device ordinal", Kind.DEVICE, NONE),
    (r"No (CUDA|HIP) GPUs are available|no CUDA-capable device", Kind.DEVICE, NONE),
    (r"Found no NVIDIA driver", Kind.DEVICE, NONE),
    (r"not compiled with CUDA|not linked with support for cuda", Kind.DEVICE, NONE),
    (r"MPS (server|client|connection)|MPS control daemon", Kind.DEVICE, f"NVIDIA's MPS: {NONE}"),
    (r"device-side assert|illegal (memory access|address|instruction)", Kind.DEVICE, CRASHED),
    (r"misaligned address|invalid program counter", Kind.DEVICE, CRASHED),
    (r"unspecified launch failure|launch timed out", Kind.DEVICE, CRASHED),
    (r"cuDNN version incompatibility|STATUS_VERSION_MISMATCH", Kind.DEVICE, LIBRARY),
    (r"SUBLIBRARY_|undefined symbol|PTX JIT compiler library", Kind.DEVICE, LIBRARY),
    (r"Failed to find C compiler|Cannot find a working triton", Kind.DEVICE, COMPILER),
    # of processes that train one run together
    (r"collective operation timeout|NCCL timeout", Kind.PEER, WATCHDOG),
    (r"Timed out waiting \d+ ?ms for|Wait timeout|wait timeout after", Kind.PEER, WATCHDOG),
    (r"client socket has timed out|Application timeout|waiting for clients", Kind.PEER, WATCHDOG),
    (r"NCCL communicator was aborted|ncclCommAbort", Kind.PEER, GONE),
    (r"ncclRemoteError|remote process exiting", Kind.PEER, GONE),
    (r"Connection (closed by peer|reset by peer|refused)", Kind.PEER, GONE),
    (r"gloo.*(Broken pipe|EOF)|TCPStore.*(Broken pipe|unexpected EOF)", Kind.PEER, GONE),
    (r"recvValue failed|sendBytes failed|recvBytes failed", Kind.PEER, GONE),
    (r"EADDRINUSE|[Aa]ddress already in use", Kind.PEER, "the port of the processes was taken"),
    (r"NCCL error|nccl\w*Error|ncclInvalidUsage", Kind.DEVICE, NETWORK),
    (r"[Pp]in memory thread exited", Kind.MEMORY, "the thread that copies images to the GPU died"),
    # whatever else a device's library reports, "CUDA error: unknown error" among it
    (r"(CUDA|cuda|HIP|cuDNN|XPU)( driver)? error|cudaGetDeviceCount", Kind.DEVICE, FAILED),
    (r"CU[A-Z]+_STATUS_", Kind.DEVICE, FAILED),
]
# torch adds these to every error of CUDA, whatever it is
HINTS = ("CUDA kernel errors", "For debugging", "Compile with")
PATTERNS = [(re.compile(pattern), kind, advice) for pattern, kind, advice in FAULTS]


def fault_of(text: str) -> Fault | None:
    """The fault that an error's text describes; None if no device and no peer is at fault."""
    lines = [line for line in text.splitlines() if not line.startswith(HINTS)]
    for pattern, kind, advice in PATTERNS:
        line = next((line for line in lines if pattern.search(line)), None)
        if line is not None:
            return Fault(kind, advice, _trimmed(line))
    return None


def _trimmed(line: str) -> str:
    """The line without the place in torch's sources, which tells a user nothing."""
    line = re.sub(r" ?\((Triggered internally|function operator|Exception raised).*", "", line)
    return re.sub(r"\[\S+/\S+:\d+\] ", "", line).strip()[:300]
