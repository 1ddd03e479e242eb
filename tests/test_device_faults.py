"""Errors of CUDA, cuDNN, NCCL and gloo: one line that says what to do, the right exit code."""

import pytest
import torch

from xent_bench.config.explain import exit_code, explain
from xent_bench.data.augment import Augmentation
from xent_bench.data.resident import Resident, refuse_larger_than_gpu, stored_bytes
from xent_bench.failures import (
    OutOfMemory,
    PeerLost,
    Unavailable,
    named,
    reason,
    worth_another_try,
)
from xent_bench.training.run import run
from xent_bench.training.trainer import build_trainer

HINT = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the "
    "stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)
NCCL = (
    "NCCL error in: /pytorch/torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1691, {}, "
    "NCCL version 2.20.5\n{}"
)
MEMORY = [
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB of "
    "which 1.03 GiB is free. Including non-PyTorch memory, this process has 14.74 GiB in use.",
    "CUDA error: out of memory" + HINT,
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    "Unable to find a valid cuDNN algorithm to run convolution",
    "GET was unable to find an engine to execute this computation",
    "MPS backend out of memory (MPS allocated: 8.88 GB, other allocations: 1.5 GB).",
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 40000000000 bytes. Error code 12 (Cannot allocate memory)",
    "Caught RuntimeError in pin memory thread for device 0.\nOriginal Traceback (most recent call "
    'last):\n  File "pin_memory.py", line 41\nRuntimeError: CUDA error: out of memory',
    NCCL.format("unhandled cuda error", "Last error:\nCuda failure 2 'out of memory'"),
    "Pin memory thread exited unexpectedly",
    "can't start new thread",
]
DEVICE = [
    (
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable" + HINT,
        "CUDA_VISIBLE_DEVICES",
    ),
    ("CUDA error: all CUDA-capable devices are busy or unavailable", "CUDA_VISIBLE_DEVICES"),
    ("CUDA error: uncorrectable ECC error encountered" + HINT, "reset"),
    ("CUDA error: uncorrectable NVLink error detected during the execution", "reset"),
    ("No CUDA GPUs are available", "machine=cpu"),
    ("No HIP GPUs are available", "machine=cpu"),
    ("CUDA error: no CUDA-capable device is detected", "CUDA_VISIBLE_DEVICES"),
    ("CUDA error: invalid device ordinal" + HINT, "CUDA_VISIBLE_DEVICES"),
    (
        "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and "
        "installed a driver from http://www.nvidia.com/Download/index.aspx",
        "nvidia-smi",
    ),
    (
        "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
        "driver by downloading and installing a new version",
        "newer NVIDIA driver",
    ),
    ("CUDA driver version is insufficient for CUDA runtime version", "newer NVIDIA driver"),
    ("CUDA error: the provided PTX was compiled with an unsupported toolchain.", "newer NVIDIA"),
    (
        "CUDA error: no kernel image is available for execution on the device" + HINT,
        "build of torch",
    ),
    ("HIP error: invalid device function", "build of torch"),
    ("CUDA error: CUBLAS_STATUS_ARCH_MISMATCH when calling `cublasGemmEx(`", "build of torch"),
    (
        "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before "
        "calling NumCudaDevices() that might have already set an error? Error 802: system not yet "
        "initialized (Triggered internally at ../c10/cuda/CUDAFunctions.cpp:108.)",
        "nvidia-fabricmanager",
    ),
    (
        "Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported display "
        "driver / cuda driver combination (Triggered internally at CUDAFunctions.cpp:108.)",
        "newer NVIDIA driver",
    ),
    (
        "Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility was "
        "attempted on non supported HW",
        "newer NVIDIA driver",
    ),
    ("CUDA error: device-side assert triggered" + HINT, "machine=cpu"),
    ("CUDA error: an illegal memory access was encountered" + HINT, "CUDA_LAUNCH_BLOCKING=1"),
    ("CUDA error: misaligned address", "CUDA_LAUNCH_BLOCKING=1"),
    ("CUDA error: unspecified launch failure" + HINT, "CUDA_LAUNCH_BLOCKING=1"),
    ("CUDA error: the launch timed out and was terminated", "CUDA_LAUNCH_BLOCKING=1"),
    ("CUDA error: MPS client failed to connect to the MPS control daemon or the MPS server", "MPS"),
    (
        "cuDNN version incompatibility: PyTorch was compiled  against (8, 9, 2) but found runtime "
        "version (8, 5, 0). PyTorch already comes bundled with cuDNN.",
        "LD_LIBRARY_PATH",
    ),
    ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "nvidia-smi"),
    (
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle)`",
        "nvidia-smi",
    ),
    ("CUDA error: unknown error" + HINT, "nvidia-smi"),
    ("CUDA driver error: invalid argument", "nvidia-smi"),
    (
        NCCL.format(
            "invalid usage (run with NCCL_DEBUG=WARN for details)",
            "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\nLast error:\n"
            "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000",
        ),
        "fewer machine.devices",
    ),
    (
        NCCL.format(
            "unhandled system error (run with NCCL_DEBUG=INFO for details)",
            "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or "
            "device error.",
        ),
        "NCCL_DEBUG=INFO",
    ),
    ("Failed to find C compiler. Please specify via CC environment variable.", "machine.compile"),
]
PEER = [
    "NCCL communicator was aborted on rank 1. Original reason for failure was: watchdog",
    "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=12, OpType=ALLREDUCE, "
    "NumelIn=7850, NumelOut=7850, Timeout(ms)=600000) ran for 600017 milliseconds.",
    NCCL.format(
        "remote process exited or there was a network error",
        "ncclRemoteError: A call failed possibly due to a network error or a remote process "
        "exiting prematurely.",
    ),
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer "
    "[127.0.0.1]:42181",
    "[../third_party/gloo/gloo/transport/tcp/pair.cc:525] Read error [127.0.0.1]:1: Connection "
    "reset by peer",
    "[../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms "
    "for recv operation to complete",
    "Application timeout caused pair closure",
    "Timed out after 601 seconds waiting for clients. 1/2 clients joined.",
    "what a later version of torch says",
    "The client socket has timed out after 600000ms while trying to connect to (127.0.0.1, 29500).",
    "The server socket has failed to listen on any local network address. port: 29500, useIpv6: "
    "false, code: -98, name: EADDRINUSE, message: address already in use",
]


@pytest.mark.parametrize("text", MEMORY)
def test_want_of_memory_by_any_name_is_tried_again(text: str):
    error = named(RuntimeError(text))

    assert isinstance(error, OutOfMemory)
    assert worth_another_try(error)


@pytest.mark.parametrize(("text", "advice"), DEVICE)
def test_a_fault_of_the_device_is_one_line_that_says_what_to_do(text: str, advice: str):
    error = named(RuntimeError(text))
    line = explain(error, [])

    assert type(error) is Unavailable
    assert (exit_code(error), worth_another_try(error)) == (4, False)
    assert advice in line
    assert "Triggered internally" not in line
    assert len(line) < 400


@pytest.mark.parametrize("text", PEER)
def test_a_process_that_lost_another_one_is_tried_again(text: str):
    error = named(torch.distributed.DistBackendError(text))

    assert isinstance(error, PeerLost)
    assert worth_another_try(error)
    assert "pair.cc" not in reason(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Expected all tensors to be on the same device, but found at least two"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (64x784 and 10x10)"),
        AssertionError("expected three channels"),
        ValueError("CUDA error: in a text of the user's"),
        Unavailable("killed by SIGKILL (out of memory?)"),
    ],
)
def test_what_is_no_fault_of_a_device_stays_what_it_is(error: Exception):
    assert named(error) is error


def test_torch_without_cuda_is_told_as_no_gpu():
    error = named(AssertionError("Torch not compiled with CUDA enabled"))

    assert "torch finds no GPU" in str(error)


BLAMED = """
import torch
from torch import nn
from xent_bench.types import Index, PerExample
TEXT = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
class Full(nn.Linear):
    def forward(self, images):
        raise RuntimeError(TEXT)
def net(shape, classes, *, width=1, depth=1) -> nn.Module:
    return Full(1, 1)
def loss(logits, target: Index) -> PerExample:
    raise RuntimeError(TEXT)
"""


@pytest.mark.parametrize("part", ["model._target_=blamed.net", "loss._target_=blamed.loss"])
def test_want_of_memory_in_the_first_try_is_not_blamed_on_the_users_part(
    config, tmp_path, monkeypatch, part: str
):
    (tmp_path / "blamed.py").write_text(BLAMED)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(OutOfMemory, match="not enough memory"):
        run(config(part))


@pytest.mark.parametrize(("devices", "there"), [(1, "no GPUs"), (2, "1 GPU")])
def test_a_wish_for_gpus_that_are_not_there_is_told_with_what_there_is(
    composed, monkeypatch, devices: int, there: str
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8a")
    monkeypatch.setattr("torch.cuda.device_count", lambda: devices - 1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: devices > 1)
    wanted = composed("machine=gpu", f"machine.devices={devices}")
    with pytest.raises(Unavailable) as refused:
        build_trainer(wanted)

    line = str(refused.value)
    assert line.startswith(f"machine.accelerator=gpu machine.devices={devices}: torch sees {there}")
    assert "with CUDA_VISIBLE_DEVICES='GPU-8a'" in line
    assert "\n" not in line


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(flip=True, crop=2)])
def test_the_bytes_of_images_on_a_device_are_known_before_they_are_there(augmentation):
    images = torch.zeros(7, 3, 8, 6, dtype=torch.uint8)
    stored = Resident(images, torch.device("cpu"), augmentation)

    assert stored_bytes(7, (3, 8, 6), augmentation) == stored.runs.untyped_storage().nbytes()


@pytest.mark.parametrize(
    ("free", "total", "refusal"),
    [(1300, 9000, None), (1299, 9000, OutOfMemory), (1000, 1299, Unavailable)],
)
def test_images_that_a_gpu_cannot_hold_are_refused_before_they_are_copied(
    monkeypatch, free: int, total: int, refusal: type | None
):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (free, total))
    wanted = [10, 2, 1], (1, 10, 10), Augmentation(), torch.device("cuda")

    if refusal is None:
        refuse_larger_than_gpu(*wanted)
        return
    with pytest.raises(Unavailable, match=r"the images lie in the GPU's.*image_folder") as refused:
        refuse_larger_than_gpu(*wanted)
    assert type(refused.value) is refusal
    assert worth_another_try(refused.value) == (refusal is OutOfMemory)
