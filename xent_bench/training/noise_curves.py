"""Curves of a training on noisy labels: what it learns, and what it learns by heart.

After each epoch the net is evaluated on images of train, as they are, without augmentation:

- `train_clean/top1`: images whose label was kept; the share answered with it.
- `train_noisy/memorised`: images whose label was changed; the share answered with the wrong label
  that they were trained on.
- `train_noisy/top1`: the same images; the share answered with the class that they really have.
- `val_clean/top1`: val against its clean labels, where val is noisy too. It is there to be looked
  at: nothing is chosen by it, since nobody would have these labels.
"""

from collections.abc import Callable

import torch
from omegaconf import DictConfig
from torch import Tensor

from xent_bench.data.batches import Batches
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits
from xent_bench.metrics.examples import hits
from xent_bench.metrics.reported import CLEAN_VAL, CORRECTED, KEPT_LABELS, MEMORISED
from xent_bench.randomness import generator
from xent_bench.training.decoders_of import decoders_of
from xent_bench.training.validation import Seen
from xent_bench.types import Index, Logits, Pixels

MOST = 5000  # images of each kind: a standard error of at most 0.7 points

Loader = Callable[[Index], Batches]  # of images by their ids


class NoiseCurves:
    """The scores on kept, on changed and on clean labels after an epoch."""

    def __init__(self, data: ImageSet, splits: Splits, seed: int, load: Loader) -> None:
        """`load` reads images of train as evaluation does; at most MOST of each kind are drawn."""
        assert data.clean is not None
        self.labels, self.clean = data.labels, data.clean
        order = torch.randperm(len(splits.train), generator=generator(seed, "noise curves"))
        train = splits.train[order]
        is_changed = data.labels[train] != data.clean[train]
        parts = {"kept": train[~is_changed][:MOST], "changed": train[is_changed][:MOST]}
        self.batches = {name: load(ids.sort().values) for name, ids in parts.items() if len(ids)}
        self.val_is_noisy = not torch.equal(data.labels[splits.val], data.clean[splits.val])

    def scores(self, net: Callable[[Pixels], Logits], val: Seen) -> dict[str, float]:
        """Evaluate the net, which is in evaluation mode, and val's outputs again."""
        curves = {}
        if "kept" in self.batches:
            kept = self._outputs(net, "kept")
            curves[KEPT_LABELS] = _top1(*kept, self.clean)
        if "changed" in self.batches:
            changed = self._outputs(net, "changed")
            curves[MEMORISED] = _top1(*changed, self.labels)
            curves[CORRECTED] = _top1(*changed, self.clean)
        if self.val_is_noisy:
            curves[CLEAN_VAL] = _top1(val.logits.cpu(), val.ids.cpu(), self.clean)
        return curves

    def _outputs(self, net: Callable[[Pixels], Logits], name: str) -> tuple[Logits, Index]:
        outputs, ids = zip(
            *((net(images), numbers) for images, numbers in self.batches[name]), strict=True
        )
        return torch.cat(outputs).cpu(), torch.cat(ids).cpu()


def _top1(outputs: Logits, ids: Index, labels: Tensor) -> float:
    """The share of answers that are these labels; ties are broken at random, as in val/top1."""
    (top1,) = hits(outputs.double().numpy(), labels[ids].numpy(), (1,))
    return float(top1.mean())


def noise_curves(
    config: DictConfig, data: ImageSet, splits: Splits, batch_size: int, val: Batches
) -> NoiseCurves | None:
    """Make the curves of a run, read as `val` is; None where no label is noisy."""
    if data.clean is None:
        return None
    device, machine = val.source.device, config.machine
    normalise = data.normalisation(splits.train)

    def load(ids: Index) -> Batches:
        timeout = machine.worker_timeout or None
        source = data.source(ids, device, decoders_of(machine), timeout=timeout)
        return Batches(source, (), ids, normalise, batch_size)

    return NoiseCurves(data, splits, config.seed, load)
