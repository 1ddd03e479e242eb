"""The account of a run's images: how many, of which classes, in which split, and what is odd.

It is kept in the run's folder as `images.json`. PyTorch is not needed to read it.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from xent_bench.runs.files import DAMAGED, IMAGES, write_json
from xent_bench.runs.reading import read_sealed

# names of the folder that is the test split where none is called test, in small letters
VALIDATION = ("val", "valid", "validation", "dev")
COPIES = "also in an earlier split"  # the name of a row
Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DataAccount:
    """Facts about the images of a run, in plain values: `dataclasses.asdict` is ready for JSON.

    - `images`, `classes`: their numbers.
    - `splits`: split -> number of its images; the keys are train, val, calib and test.
    - `smallest_class`, `smallest_count`: the class with the fewest images of train, and how many.
      An image with soft labels counts for its likeliest class.
    - `absent`: split -> number of classes without an image in it; splits with all classes are not
      in it.
    - `test`: 'official', or 'drawn' from all images.
    - `shape`: channels, height and width of an image, as the net sees it.
    - `crop`: how a file becomes such an image, in words; None for images in memory.
    - `folder`: the folder of the files; None for sets that do not say.
    - `test_folder`: the folder in it that is the test split: 'test', or 'val' where there is no
      'test'; None where test is drawn.
    - `left_out`: reason -> number of files and folders that were not used, such as
      {'hidden': 3, 'no image (.txt)': 2}.
    - `unread`: names of the folders in `folder` that were not read.
    - `leaks`: split -> number of its images of which an exact copy is in a split before it, in the
      order train, val, calib, test. Splits without any are not in it.
    - `leak_examples`: up to 3 pairs: an image, and its copy in a later split; those of test first.
      An image is named by its file, or by its id in a set in memory.
    - `repeated`: number of images of train that are copies of another image of train.
    - `conflicts`: number of images of which an exact copy, in any split, has another label.
    - `conflict_examples`: up to 3 pairs of such images.
    - `val`: 'official', where half of a validation split is val and half calib, or 'drawn'.
    - `val_folder`: the folder in `folder` that is that split; None for other sets.
    - `groups`: number of groups, each of which is within one split; None for sets without any.
    - `weights`: the smallest and the largest weight of a training image; None without weights.
    - `notes`: what the loader read as what, and what is odd: {'labels': 'the column species'}.
    - `sizes`: of the files, in pixels, upright: 'smallest', 'median' and 'largest' (width, height),
      by their shorter sides; 'below', the number with a side below `shape`. Empty for others.
    - `modes`: mode of the files, as Pillow calls it -> number of images.
    """

    images: int
    classes: int
    splits: dict[str, int]
    smallest_class: str
    smallest_count: int
    absent: dict[str, int]
    test: str
    shape: tuple[int, int, int]
    crop: str | None
    folder: str | None
    test_folder: str | None
    left_out: dict[str, int]
    unread: tuple[str, ...]
    leaks: dict[str, int]
    leak_examples: Pairs
    repeated: int
    conflicts: int
    conflict_examples: Pairs
    val: str = "drawn"
    val_folder: str | None = None
    groups: int | None = None
    weights: tuple[float, float] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, Any] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)


def save_account(account: DataAccount, folder: Path) -> None:
    """Write `images.json`, which appears whole."""
    write_json(folder / IMAGES, asdict(account))


def load_account(folder: Path) -> DataAccount | None:
    """Read `images.json`; None if it is missing, or does not hold what a run writes."""
    try:
        account = DataAccount(**read_sealed(folder / IMAGES))
        account_rows("", account)  # uses every field
    except DAMAGED:
        return None
    return account


def account_rows(data: str, account: DataAccount) -> list[tuple[str, str]]:
    """The account as names and texts, for a table; `data` is the name of the choice of data.

    What is not there, such as files that were left out, has no row.
    """
    least = f" (smallest class: {account.smallest_class}, {int(account.smallest_count):,})"
    counts = ", ".join(
        f"{int(n):,} {split}{least * (split == 'train')}" for split, n in account.splits.items()
    )
    rows = [
        ("data", f"{data}{_from(account)}"),
        ("images", _number_and_size(account)),
        ("splits", f"{counts}{_groups(account)}{_val(account)}; test is {_test(account)}"),
    ]
    rows += [(str(name), str(text)) for name, text in account.notes.items()]
    if account.weights is not None:
        least, most = (f"{float(weight):g}" for weight in account.weights)
        rows.append(("weights", f"{least} to {most} in training, divided by their mean"))
    rows += _size_rows(account)
    rows += [
        ("no image of", f"{int(n):,} class{'es' * (n > 1)} in {split}")
        for split, n in account.absent.items()
    ]
    left_out = [f"{int(n):,} {reason}" for reason, n in account.left_out.items()]
    left_out += [f"folder {name}" for name in account.unread]
    rows += [("left out", ", ".join(left_out))] * bool(left_out)
    unused = int(account.images) - sum(int(n) for n in account.splits.values())
    if unused > 0:
        rows.append(("in no split", f"{_images(unused)}, by imbalance or train_fraction"))
    leaks = ", ".join(f"{int(n):,} of {split}" for split, n in account.leaks.items())
    if leaks:
        n = sum(account.leaks.values())
        examples = _pairs(account.leak_examples, n)
        more = " (xent-data data=... --all lists them)" * (n > len(account.leak_examples))
        rows.append((COPIES, f"{leaks}{examples}{more}"))
    if account.repeated:
        rows.append(("twice in train", _images(account.repeated)))
    if account.conflicts:
        examples = _pairs(account.conflict_examples, account.conflicts // 2)
        rows.append(("with another label too", f"{_images(account.conflicts)}{examples}"))
    return rows


def account_lines(data: str, account: DataAccount) -> list[str]:
    """The account in a few lines, for the start of a run: the counts, then what is unusual."""
    (_, source), (_, images), (_, splits), *odd = account_rows(data, account)
    return [f"{source}: {images}", f"  {splits}", *(f"  {name}: {text}" for name, text in odd)]


def _from(account: DataAccount) -> str:
    return "" if account.folder is None else f" from {account.folder}"


def _number_and_size(account: DataAccount) -> str:
    channels, height, width = (int(side) for side in account.shape)
    classes = f"{int(account.classes):,} classes"
    if height == width == 1:
        return f"{int(account.images):,} vectors of {channels:,} numbers, {classes}"
    return f"{int(account.images):,} images of {classes}, {_size(account)}"


def _size(account: DataAccount) -> str:
    channels, height, width = (int(side) for side in account.shape)
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    crop = "" if account.crop is None else f" ({account.crop})"
    return f"{height} x {width} pixels, {colour}{crop}"


def _size_rows(account: DataAccount) -> list[tuple[str, str]]:
    """A row on files that are smaller than what the net sees, if there are any."""
    below = int(account.sizes.get("below", 0))
    if not below:
        return []
    width, height = (int(side) for side in account.sizes["smallest"])
    return [("enlarged", f"{_images(below)}, the smallest has {width} x {height} pixels")]


def _groups(account: DataAccount) -> str:
    groups = account.groups
    return "" if groups is None else f"; {int(groups):,} groups, none in two splits"


def _val(account: DataAccount) -> str:
    """The origin of val and calib, in words, where they are not drawn from train."""
    if account.val != "official":
        return ""
    folder = account.val_folder
    origin = "the official validation split" if folder is None else f"the folder {folder}"
    return f"; val and calib are {origin}, half each"


def _test(account: DataAccount) -> str:
    """The origin of the test split, in words."""
    if account.test_folder is not None:
        is_val = account.test_folder.lower() in VALIDATION
        instead = ", since there is no folder test" if is_val else ""
        return f"the folder {account.test_folder}{instead}"
    if account.test == "official":
        return "the official one"
    return "drawn, the same for every seed"


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{int(number):,} images"


def _pairs(examples: Any, number: int) -> str:
    """The pairs of an image and its copy that are named, of so many that there are."""
    pairs = ", ".join(f"{first} = {copy}" for first, copy in examples)
    return f": {pairs}{', ...' * (number > len(examples))}" if pairs else ""
