"""An augmented image: a batch at once, against one image after the other by torchvision."""

from collections import deque
from collections.abc import Callable
from functools import partial

import torch
from measure import Cost, by_turns, cost_of, ratio, typical
from torchvision.transforms import v2

from xent_bench.config.targets import encoder
from xent_bench.data.augment import Augmentation
from xent_bench.data.batches import Normalisation, ShuffledBatches
from xent_bench.data.resident import Resident

CPU = torch.device("cpu")
N, SHORT_N, BATCH = 4096, 256, 128
SHARE = 8  # one by one is slow: an eighth of the images
RECIPES = {
    "flip, normalise": Augmentation(flip=True),
    "crop, flip, normalise": Augmentation(flip=True, crop=4),
    "crop, flip, normalise, cutout": Augmentation(flip=True, crop=4, cutout=8),
    "crop, flip, normalise, mixup": Augmentation(flip=True, crop=4, mixup=0.2),
    "crop, flip, normalise, CutMix": Augmentation(flip=True, crop=4, cutmix=1.0),
}


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: microseconds of CPU an image of 3 x 32 x 32, and how many times that torchvision's."""
    torch.set_num_threads(1)
    n = SHORT_N if short else N
    images = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(10, (n,))
    rows = []
    for name, recipe in RECIPES.items():
        works: dict[str, Callable[[], Cost]] = {
            "batch": _timed(_batches(images, labels, recipe)),
            "one by one": _timed(
                partial(_one_by_one, images[: n // SHARE], labels[: n // SHARE], recipe)
            ),
        }
        batch, single = by_turns(works, rounds).values()
        ours, theirs = 1e6 * typical(batch).cpu / n, SHARE * 1e6 * typical(single).cpu / n
        times = SHARE * ratio(single, batch).cpu
        rows.append([name, f"{ours:.2f}", f"{theirs:.0f}", f"{times:.0f}"])
    return rows


def _timed(work: Callable[[], object]) -> Callable[[], Cost]:
    return lambda: cost_of(work)


def _batches(
    images: torch.Tensor, labels: torch.Tensor, recipe: Augmentation
) -> Callable[[], object]:
    batches = ShuffledBatches(
        Resident(images, CPU, recipe),
        labels,
        Normalisation.of(images),
        BATCH,
        encode=encoder("Distribution", 10, CPU),
        augmentation=recipe,
        seed=0,
    )
    return lambda: deque(batches, maxlen=0)


def _one_by_one(images: torch.Tensor, labels: torch.Tensor, recipe: Augmentation) -> None:
    """Augment image by image, as a Dataset does; torchvision's mixup and CutMix take the batch."""
    steps = [
        *([v2.RandomCrop(32, 4, padding_mode="reflect")] if recipe.crop else []),
        v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5] * 3, [0.25] * 3),
    ]
    if recipe.cutout:
        share = (recipe.cutout / 32) ** 2
        steps.append(v2.RandomErasing(p=1.0, scale=(share, share), ratio=(1.0, 1.0)))
    transform = v2.Compose(steps)
    mixing = [
        *([v2.MixUp(alpha=recipe.mixup, num_classes=10)] if recipe.mixup else []),
        *([v2.CutMix(alpha=recipe.cutmix, num_classes=10)] if recipe.cutmix else []),
    ]
    for start in range(0, len(images), BATCH):
        batch = torch.stack([transform(image) for image in images[start : start + BATCH]])
        for mix in mixing:
            mix(batch, labels[start : start + BATCH])
