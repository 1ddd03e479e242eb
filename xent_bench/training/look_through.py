"""A data set looked through as a run would load it: counts, copies, bad files, and hints."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from xent_bench.conditions.conditioned import conditioned
from xent_bench.conditions.noise_count import count_noise
from xent_bench.config.configure import configured
from xent_bench.config.schema import Noise, plain
from xent_bench.data.account import account
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits, split
from xent_bench.runs.data_account import DataAccount
from xent_bench.training.build import load_unchecked

MOST = 10  # pairs of copies that are named, where not all are
UNEVEN = 10  # times as many images in the largest class as in the smallest: then a hint
SMALL = 64  # pixels up to which files of one size may as well lie in memory
FEW_IMAGES = 100  # in a split, below which a hint advises several seeds
# losses that their authors made for classes of unequal size
FOR_UNEVEN = "balanced_softmax, ldam, logit_adjustment and weighted_ce"


@dataclass(frozen=True)
class Page:
    """Everything that is said about a set, in plain values."""

    account: DataAccount
    counts: dict[str, dict[str, float]]  # split -> class -> images; of soft labels the sum
    unreadable: tuple[str, ...]
    hints: tuple[str, ...]
    next_command: str


def look_through(
    config: DictConfig, words: Sequence[str], folder: Path | None, *, everything: bool
) -> Page:
    """Load the set that a config chooses, look at every file once, and count.

    With `everything` all copies are named, else a few. The files are remembered, so that the runs
    that follow do not look again. `words` and `folder` are what was typed, for the next command.
    """
    data = load_unchecked(configured(config, "data"))
    data, splits = conditioned(data, split(data, config.seed), config)
    unreadable = data.images.complaints() if isinstance(data.images, ImageFiles) else []
    counted = account(data, splits, None if everything else MOST)
    noise = count_noise(data, splits, Noise(**plain(config.noise)))
    if noise is not None:
        counted = replace(counted, notes=counted.notes | {"noise": noise[0].line()})
    counts = {
        name: dict(zip(data.classes, data.class_counts(ids).tolist(), strict=True))
        for name, ids in splits._asdict().items()
    }
    flags = [] if folder is None else ["--config-dir", str(folder)]
    model = ["model=linear"] if data.shape[1:] == (1, 1) else []
    command = shlex.join(["xent-train", "-m", *flags, *words, *model, "loss=ce,focal"])
    return Page(counted, counts, tuple(unreadable), _hints(counted, counts, data, splits), command)


def _hints(
    account: DataAccount,
    counts: dict[str, dict[str, float]],
    data: ImageSet,
    splits: Splits,
) -> tuple[str, ...]:
    hints = []
    smallest, largest = min(counts["train"].values()), max(counts["train"].values())
    if smallest and largest >= UNEVEN * smallest:
        hints.append(
            f"The largest class of train has {largest / smallest:,.0f} times as many images as the "
            f"smallest: {FOR_UNEVEN} were made for that (xent-losses NAME)."
        )
    if account.leaks.get("test"):
        hints.append(
            f"{account.leaks['test']:,} images of test are in another split too, so scores on "
            "test flatter: remove them, or keep copies together by a group (data=table)."
        )
    sizes, modes = account.sizes, account.modes
    if modes and set(modes) <= {"L", "LA", "1"} and data.shape[0] == 3:
        hints.append("All files are grey: data.channels=1 gives the net one channel.")
    if (
        sizes
        and sizes["smallest"] == sizes["largest"]
        and max(sizes["largest"]) <= SMALL
        and sizes["largest"][0] != data.shape[2]
    ):
        hints.append("All files have one small size: data.size=original does not resize them.")
    least = min(map(len, splits))
    if least < FEW_IMAGES:
        hints.append(
            f"The smallest split has {least} images: its scores have wide intervals, so compare "
            "with several seeds."
        )
    return tuple(hints)
