"""Images a second on a GPU: against a loop written by hand, and against what the device can do.

The limit counts the FLOPs of forward and backward and the bytes that each operation reads and
writes, one after the other, at the speeds that the device reaches on a large product and a large
copy; the optimizer's are left out. The short form runs on a CPU where there is no GPU, with
the small CNN alone and nothing compiled: a step of a ResNet in bf16 takes a second there.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from loop import finish, images_of, ours
from measure import Cost, by_turns, composed, ratio, typical
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from xent_bench.config.configure import configured
from xent_bench.config.schema import Compile, Precision

BASE = ("data=synthetic", "loss=sparse_ce", "optimizer=sgd", "machine.threads=null")
SMALL = ("data.channels=3", "data.size=32", "data.n=60000", "data.flip=true")
LARGE = ("data.channels=3", "data.size=224", "data.n=6000", "data.classes=1000", "data.flip=true")
CASES = {
    "small CNN, 3 x 32 x 32": (*SMALL, "model=cnn", "batch_size=512", "epochs=3"),
    "ResNet-18, 3 x 32 x 32": (*SMALL, "model=resnet18", "batch_size=512", "epochs=2"),
    "ResNet-50, 3 x 224 x 224": (*LARGE, "model=resnet50", "batch_size=128", "epochs=2"),
}
SHORT = ("data.n=60", "batch_size=16", "epochs=1", "machine.threads=1")
SETTINGS = {
    "bf16": ("precision=bf16",),
    "bf16, not deterministic": ("precision=bf16", "machine.deterministic=false"),
    "bf16, compiled": ("precision=bf16", "machine.compile=default"),
    "bf16, CUDA graphs": ("precision=bf16", "machine.compile=reduce_overhead"),
}


def measured(rounds: int, *, short: bool, device: torch.device | None = None) -> list[list[str]]:
    """Rows: images a second, against by hand, and the share of the limit."""
    device = device or torch.device("cuda" if torch.cuda.is_available() or not short else "cpu")
    accelerator = f"machine.accelerator={'gpu' if device.type == 'cuda' else 'cpu'}"
    speeds = _product(device), _copy(device)
    rows = []
    for name, case in list(CASES.items())[: 1 if short else None]:
        for setting, chosen in SETTINGS.items():
            config = composed(*BASE, *case, *chosen, accelerator, *(SHORT if short else ()))
            if not (short and config.machine.compile is not Compile.none):
                rows.append([f"{name}, {setting}", *_row(config, device, rounds, speeds)])
    return rows


def _row(
    config: DictConfig, device: torch.device, rounds: int, speeds: tuple[float, float]
) -> list[str]:
    with TemporaryDirectory() as folder:
        works: dict[str, Callable[[], Cost]] = {
            "ours": partial(ours, config, Path(folder)),
            "by hand": partial(by_hand, config, device),
        }
        our_costs, hand_costs = by_turns(works, rounds).values()
    speed = config.batch_size / typical(our_costs).wall
    work, traffic = _step_of(config)
    flops, bandwidth = speeds
    limit = config.batch_size / (work / flops + traffic / bandwidth)
    return [
        f"{speed:,.0f}",
        f"{1 / ratio(our_costs, hand_costs).wall:.2f}",
        f"{limit:,.0f}",
        f"{speed / limit:.2f}",
    ]


def by_hand(config: DictConfig, device: torch.device) -> Cost:
    """Train the same net on tensors that lie on the device, augmented in a batch."""
    torch.use_deterministic_algorithms(config.machine.deterministic)
    data, splits = images_of(config)
    images = data.images[splits.train].to(device, memory_format=torch.channels_last)
    labels = data.labels[splits.train].to(device)
    net = configured(config, "model")(data.shape, len(data.classes)).to(device)
    net = net.to(memory_format=torch.channels_last)
    optimizer = configured(config, "optimizer")(net)
    mode = config.machine.compile
    forward = net if mode is Compile.none else torch.compile(net, mode=mode.value)
    mean, std = images[:1000].float().mean(), images[:1000].float().std()
    steps = len(images) // config.batch_size
    for _ in range(config.epochs):
        finish(device)
        cpu, wall = time.process_time(), time.perf_counter()
        order = torch.randperm(len(images), device=device)
        for step in range(steps):
            ids = order[step * config.batch_size : (step + 1) * config.batch_size]
            x = _flipped((images[ids] - mean) / std)
            optimizer.zero_grad()
            with _autocast(config, device):
                outputs = forward(x)
            F.cross_entropy(outputs.float(), labels[ids]).backward()
            optimizer.step()
        finish(device)
        spent = time.process_time() - cpu, time.perf_counter() - wall
    return Cost(*(seconds / steps for seconds in spent))


def _flipped(images: Tensor) -> Tensor:
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(chosen, images.flip(-1), images)


def _autocast(config: DictConfig, device: torch.device) -> Any:
    if config.precision is not Precision.bf16:
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


class _Traffic(TorchDispatchMode):
    """Counter of the bytes that operations read and write, views aside."""

    bytes = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Do an operation and count what it reads and writes."""
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def _step_of(config: DictConfig) -> tuple[float, float]:
    """Count FLOPs and bytes of forward and backward for a batch, without a device."""
    data, _ = images_of(config)
    kind = torch.bfloat16 if config.precision is Precision.bf16 else torch.float32
    with torch.device("meta"):
        net = configured(config, "model")(data.shape, len(data.classes)).to(kind)
        images = torch.empty(config.batch_size, *data.shape, dtype=kind)
    counter, traffic = FlopCounterMode(display=False), _Traffic()
    with counter, traffic:
        net(images).sum().backward()
    return counter.get_total_flops(), traffic.bytes


def _product(device: torch.device, size: int = 8192) -> float:
    """Measure the FLOPs a second of a product of two matrices in bfloat16."""
    size = size if device.type == "cuda" else 512
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    return 2 * size**3 / _fastest(lambda: matrix @ matrix, device)


def _copy(device: torch.device, size: int = 2**30) -> float:
    """Measure the bytes a second that a copy reads and writes."""
    size = size if device.type == "cuda" else 2**24
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * size / _fastest(lambda: target.copy_(source), device)


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    seconds = []
    for _ in range(20):
        finish(device)
        start = time.perf_counter()
        work()
        finish(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
