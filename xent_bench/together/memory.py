"""The memory that the runs of a group need at once on a GPU, asked for before they are trained."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from xent_bench.types import Pixels

# of the weights: they, their gradients, two moments, an average over steps, and a step's own values
COPIES = 6
# of what a forward pass keeps: it, and the gradients that the backward pass makes beside it
PASSES = 2
ROOM = 0.8  # of the free memory; the rest is for libraries, and for gaps between blocks


def runs_at_once(a_run: int, shared: int, device: torch.device) -> int:
    """The number of runs, each of so many bytes, that fit beside shared ones; at least 1.

    On a GPU it is ROOM of its free memory that counts. Elsewhere nets follow each other, and the
    number has no bound (2^31).
    """
    if device.type != "cuda":
        return 2**31
    free, _ = torch.cuda.mem_get_info(device)
    return fitting(a_run, shared, free)


def fitting(a_run: int, shared: int, free: int) -> int:
    """The number of runs of so many bytes that fit into ROOM of the free ones; at least 1."""
    return max(1, int(ROOM * free - shared) // a_run)


def bytes_of_run(net: nn.Module, images: Pixels, batch_size: int) -> int:
    """Bytes that a stacked net needs for a training step of a batch of so many images.

    COPIES times its weights, and PASSES times what a forward pass keeps for the backward pass,
    which is measured on a few images and taken to grow with their number. What a loss keeps, a
    number for each output, is not counted.
    """
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in of_weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    copied = deepcopy(net).train()  # a pass changes the running statistics of normalisation
    of_weights = {weight.untyped_storage().data_ptr() for weight in copied.parameters()}
    with saved_tensors_hooks(note, lambda tensor: tensor):
        copied(images)
    weights = sum(weight.nbytes for weight in net.parameters())
    return COPIES * weights + PASSES * sum(kept.values()) * batch_size // len(images)
