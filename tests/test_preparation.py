"""The way from an image file to pixels: reduced, cropped, resized; or as it is, in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torchvision.transforms import v2

from xent_bench.config.explain import exit_code
from xent_bench.config.identity import run_folder, science
from xent_bench.data import originals
from xent_bench.data.augment import Augmentation
from xent_bench.data.cropping import resized
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_folder import image_folder
from xent_bench.data.image_set import ImageSet
from xent_bench.data.preparation import Preparation
from xent_bench.failures import DataError
from xent_bench.trained_net.net import load
from xent_bench.training.run import run


def photograph(w: int, h: int, seed: int = 0) -> Image.Image:
    """A smooth image in colour, so that JPEG and resizing keep it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return coarse.resize((w, h), Image.Resampling.BICUBIC)


def files(folder: Path, *images: Image.Image, kind: str = "png", **chosen: object) -> ImageFiles:
    names = [f"{number}.{kind}" for number in range(len(images))]
    for name, image in zip(names, images, strict=True):
        image.save(folder / name, **({"quality": 95} if kind == "jpg" else {}))
    return ImageFiles.of(folder, names, Preparation.chosen(**chosen))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("sides", [(90, 61), (61, 90), (64, 64), (97, 32), (500, 375)])
def test_evaluation_sees_what_resize_and_centre_crop_of_torchvision_give(
    tmp_path, sides, interpolation
):
    image = photograph(*sides)
    read = files(tmp_path, image, size=28, interpolation=interpolation)
    (seen,) = read.decode([(0, None)])
    as_wanted = v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize(32, v2.InterpolationMode(interpolation), antialias=True),
            v2.CenterCrop(28),
        ]
    )

    assert np.array_equal(seen, as_wanted(image).permute(1, 2, 0).numpy())


def test_an_image_that_is_small_enough_is_stored_as_it_is_and_none_is_enlarged(tmp_path):
    sides = [(40, 32), (20, 9), (1, 1), (32, 90)]
    read = files(tmp_path, *(photograph(*pair) for pair in sides), size=28)

    for number, (w, h) in enumerate(sides):
        stored = read.reduced(number)
        assert stored.shape == (h, w, 3)
        assert np.array_equal(stored, np.asarray(photograph(w, h)))
        for draw in (None, (1.0, 0.0, 0.999, 0.999, 0.1), (0.0, 0.999, 0.0, 0.5, 0.9)):
            assert read.decode_one(number, draw).shape == (28, 28, 3)


def test_the_square_of_an_image_that_is_too_small_is_as_large_in_proportion(tmp_path):
    ramp = np.repeat(np.arange(0, 240, 15, dtype=np.uint8)[None, :, None], 16, axis=0)
    read = files(tmp_path, Image.fromarray(ramp.repeat(3, axis=2)), size=28)  # 16 pixels, 14 seen
    (seen,) = read.decode([(0, None)])

    assert seen[0, 0, 0] == 15
    assert seen[0, -1, 0] == 14 * 15


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_a_large_jpeg_is_decoded_at_a_part_of_its_size_to_nearly_the_same_pixels(tmp_path, scale):
    image = photograph(45 * scale, 33 * scale)
    lossless = files(tmp_path, image, size=28).reduced(0).astype(int)
    stored = files(tmp_path, image, kind="jpg", size=28).reduced(0)
    with Image.open(tmp_path / "0.jpg") as opened:
        opened.draft("RGB", (32, 32))
        part = np.array(opened)

    assert part.shape == (33, 45, 3)
    assert np.array_equal(stored, resized(part, (32, 43), "bilinear"))
    assert np.abs(stored - lossless).mean() < 4


def test_grey_is_one_channel_normalised_by_the_mean_of_imagenets_moments(tmp_path):
    read = files(tmp_path, photograph(40, 40), size=28, channels=1)
    (seen,) = read.decode([(0, None)])
    data = ImageSet(read.part(np.array([0, 0])), torch.tensor([0, 1]), ("a", "b"))

    expected = np.asarray(photograph(40, 40).convert("L"))
    whole = read.reduced(0)[..., 0].astype(int)
    assert abs(whole.mean() - expected.mean()) < 1
    assert seen.shape == (28, 28, 1)
    assert data.shape == (1, 28, 28)
    mean, std = data.normalisation(torch.tensor([0]))
    assert mean.flatten().tolist() == pytest.approx([0.449 * 255], abs=0.1)
    assert std.flatten().tolist() == pytest.approx([0.226 * 255], abs=0.1)


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"size": 64, "shorter_side": 63}, "shorter_side of at least data.size=64, or 0"),
        ({"shorter_side": 223}, "at least data.size=224"),
        ({"size": "original", "shorter_side": 32}, "expected one of the two"),
        ({"size": 32, "crop": 2}, "data.crop=2 .* with data.size=original"),
    ],
)
def test_values_that_exclude_each_other_are_one_line(chosen, complaint):
    with pytest.raises(DataError, match=complaint) as refusal:
        Preparation.chosen(**chosen)

    assert "\n" not in str(refusal.value)
    assert exit_code(refusal.value) == 3


def test_what_is_chosen_by_default():
    assert Preparation.chosen() == Preparation(224, 256, "bilinear", 3, None, None, True, 0)
    assert Preparation.chosen(size=176).shorter_side == 201
    assert Preparation.chosen(size=32, shorter_side=0) == Preparation.of_whole_images(32)


OLD = {
    "data": "image_folder",
    "data.root": "x",
    "data.size": 64,
    "data.flip": True,
}  # what counted before images were reduced


def of_data(config: object) -> dict[str, object]:
    return {key: value for key, value in science(config).items() if key.startswith("data")}


def test_crops_of_the_whole_image_have_the_key_from_before_and_others_another(composed):
    base = ("data=image_folder", "data.root=x", "data.size=64")
    before = composed(*base, "data.shorter_side=0")

    assert of_data(before) == OLD
    assert of_data(composed(*base)) == OLD | {"data.shorter_side": None}
    assert len({run_folder(composed(*base, f"data.shorter_side={n}")) for n in (0, 73, 74)}) == 3


def test_a_file_of_ones_own_from_before_does_not_find_the_runs_of_other_crops(composed, tmp_path):
    own = composed("data=image_folder", "data.root=x", "data.size=64", f"machine.runs={tmp_path}")
    OmegaConf.set_struct(own, False)
    for key in ("shorter_side", "interpolation", "channels", "mean", "std", "crop"):
        own.data.pop(key)
    before = composed(
        *("data=image_folder", "data.root=x", "data.size=64", "data.shorter_side=0"),
        f"machine.runs={tmp_path}",
    )
    assert of_data(own) == OLD
    run_folder(before).mkdir(parents=True)

    assert run_folder(own) != run_folder(before)


def test_the_cache_is_no_part_of_the_key(composed):
    assert run_folder(composed("machine.cache=true")) == run_folder(composed())


def written(root: Path, images: torch.Tensor, labels: torch.Tensor, split: str) -> None:
    """Write grey images as PNG files below a folder for each class, in the order of their ids."""
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        file = root / split / f"class {label}" / f"{number:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(file)


@pytest.fixture(scope="module")
def small() -> ImageSet:
    """Images of 28 x 28 pixels, sorted by class as folders are; 40 of them are test."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.arange(200) % 4, torch.arange(40) % 4])
    labels[:200], labels[200:] = labels[:200].sort().values, labels[200:].sort().values
    images = torch.randint(0, 256, (240, 1, 28, 28), generator=rng, dtype=torch.uint8)
    images[:, :, :14] //= 1 + labels[:, None, None, None].byte()
    classes = tuple(f"class {number}" for number in range(4))
    return ImageSet(images, labels, classes, torch.arange(200, 240))


@pytest.fixture(scope="module")
def folder(small: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    written(root, small.images[:200], small.labels[:200], "train")
    written(root, small.images[200:], small.labels[200:], "test")
    return root


IN_MEMORY: dict[str, ImageSet] = {}


def in_memory(*, flip: bool = True, crop: int = 0) -> ImageSet:
    """The set of `small`, as a user's own function gives it."""
    data = IN_MEMORY["small"]
    augmentation = Augmentation(flip, crop)
    return ImageSet(data.images, data.labels, data.classes, data.test, augmentation)


def test_files_as_they_are_end_with_the_weights_of_the_same_set_in_memory(
    config, folder, small, monkeypatch
):
    monkeypatch.setitem(IN_MEMORY, "small", small)
    common = ("model=cnn", "model.width=4", "epochs=2", "batch_size=16", "data.crop=2")
    from_files = config(
        "machine.save_weights=true",
        base=("data=image_folder", f"data.root={folder}", "data.size=original", *common),
        folder="files",
    )
    from_files.data.channels = 1
    of_memory = config(base=("data=cifar10", *common), folder="memory")
    of_memory.data = {"_target_": f"{__name__}.in_memory", "crop": 2}
    results = [run(chosen) for chosen in (from_files, of_memory)]

    assert results[0]["tags"]["weights_sha256"] == results[1]["tags"]["weights_sha256"]
    assert results[0]["metrics"] == results[1]["metrics"]
    net = load(run_folder(from_files))
    assert net.record.preprocessing.crop == "original"
    names = [folder / "train" / "class 0" / f"{number:05}.png" for number in range(3)]
    assert torch.equal(net.read(names), small.images[:3])
    names[1] = folder / "wide.png"
    Image.new("L", (29, 28)).save(names[1])
    with pytest.raises(DataError, match="expected images of 28 x 28 pixels, .*wide.png has 29"):
        net.read(names)


def test_files_of_another_size_are_named_with_the_way_out(tmp_path):
    for name, sides in (("a/0", (9, 8)), ("a/1", (9, 8)), ("b/0", (8, 9))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photograph(*sides).save(tmp_path / f"{name}.png")

    expected = r"a/0.png has 9 x 8 pixels, .*b/0.png has 8 x 9; data.size=8 resizes them"
    with pytest.raises(DataError, match=expected) as refusal:
        image_folder(root=str(tmp_path), size="original")
    assert "\n" not in str(refusal.value)


def test_a_set_that_is_too_large_for_memory_is_refused_before_it_is_decoded(folder, monkeypatch):
    monkeypatch.setattr(originals, "MOST", 2**19)

    with pytest.raises(DataError, match=r"240 of 28 x 28 pixels take .*data.size=N reads"):
        image_folder(root=str(folder), size="original")


def test_a_bad_file_among_those_that_are_kept_as_they_are_is_named(tmp_path):
    for name in ("a/0", "b/0"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photograph(9, 8).save(tmp_path / f"{name}.png")
    (tmp_path / "b/1.png").write_bytes(b"no image")

    with pytest.raises(DataError, match=r"cannot read 1 of 3 images.*b/1.png: it is no JPEG"):
        image_folder(root=str(tmp_path), size="original")


def test_images_that_were_read_from_files_keep_their_names(folder):
    data = image_folder(root=str(folder), size="original", channels=1)

    assert data.name_of(3) == "train/class 0/00003.png"
    assert data.shape == (1, 28, 28)
