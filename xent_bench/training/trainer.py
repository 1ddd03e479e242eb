"""Lightning's Trainer for one run, and the number of threads that torch uses."""

import logging
import os
import warnings
from datetime import timedelta

import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.utils import deterministic

from xent_bench.config.schema import Precision, pause_after
from xent_bench.failures import Unavailable, named
from xent_bench.process.arithmetic import use_tf32
from xent_bench.process.processors import processors
from xent_bench.training.checkpoint_files import LastingCheckpointIO

# FLOPs of a step that takes one core about 5 ms. In smaller steps threads wait for one another
# longer than they work: beside other jobs a tiny step takes 6 to 70 times as long.
WORTH_THREADS = 5e8


def build_trainer(
    config: DictConfig, *callbacks: Callback, checkpoints: LastingCheckpointIO | None = None
) -> Trainer:
    """A Trainer on one device, or for one of the processes that train a run together.

    `checkpoints` reads and writes them, if it is not the reader and writer of a single run.
    """
    _quieten()
    devices = config.machine.devices
    use_tf32(config.precision is Precision.tf32)
    # deterministic mode also fills new memory with NaN, to expose reads of it; nobody reads it
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _ask_for_gpus_once()
    try:
        return Trainer(
            accelerator=config.machine.accelerator.value,
            devices=devices,
            strategy=_together(config.machine.rank_timeout) if devices > 1 else "auto",
            use_distributed_sampler=False,
            precision="32-true",  # the Classifier casts to bfloat16 by itself
            deterministic=config.machine.deterministic,
            benchmark=not config.machine.deterministic,
            max_epochs=pause_after(config) or config.epochs,  # the schedule has all epochs
            callbacks=list(callbacks),
            enable_checkpointing=False,  # our Checkpointing saves in its place
            # not the environment for SLURM: its requeue saves in a signal handler, within a step
            plugins=[checkpoints or LastingCheckpointIO(), LightningEnvironment()],
            logger=False,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (RuntimeError, MisconfigurationException) as error:
        raise _no_device(config, error) from error


def _ask_for_gpus_once() -> None:
    """Spare each step of an optimizer a search for the driver's library, where there is no GPU.

    Lightning lets PyTorch ask NVIDIA's library for GPUs, which leaves CUDA untouched before
    processes are forked. PyTorch asks in every step, and remembers no answer where there is none.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def use_threads(config: DictConfig, flops: float) -> None:
    """Set the threads to machine.threads, or else to one for a small step of `flops` operations.

    A large step gets this job's share of the processors. The FLOPs decide, not a clock, so that the
    same run gets the same number again, and with it the same rounding.
    """
    chosen: int | None = config.machine.threads
    if chosen is None:
        at_a_time = config.machine.jobs * config.machine.devices
        chosen = processors(at_a_time) if flops > WORTH_THREADS else 1
    torch.set_num_threads(chosen)


def _together(seconds: float) -> DDPStrategy:
    """The strategy of processes that train a run together.

    A process whose exchange with another takes longer than `seconds` fails: that one hangs.
    """
    return DDPStrategy(
        timeout=timedelta(seconds=seconds),
        broadcast_buffers=False,  # statistics of whole batches are the same in every process
    )


def _no_device(config: DictConfig, error: Exception) -> Unavailable:
    """The error for missing devices: how many were asked for, how many exist, and why none."""
    machine = config.machine
    asked = f"machine.accelerator={machine.accelerator.name} machine.devices={machine.devices}"
    gpus = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    of_them = "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible!r}"
    reason = " ".join(str(error).split()) if gpus else str(_why_no_gpu() or error)
    there = "1 GPU" if gpus == 1 else f"{gpus or 'no'} GPUs"
    return Unavailable(f"{asked}: torch sees {there} here{of_them}: {reason}")


def _why_no_gpu() -> BaseException | None:
    """The error with which torch fails to use a GPU: no driver, one that is too old, ..."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch's
    except (RuntimeError, AssertionError) as error:
        return named(error)
    return None


def _quieten() -> None:
    """Silence what Lightning prints in every run: the devices there are, and advice."""
    for noisy in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=noisy)
