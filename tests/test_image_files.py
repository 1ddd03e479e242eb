"""Sets whose images stay in files: ImageNet's layout, decoding, workers."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xent_bench.data.batches import ShuffledBatches
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_folder import image_folder
from xent_bench.data.image_set import ImageSet
from xent_bench.data.imagenet import imagenet
from xent_bench.data.streamed import Streamed
from xent_bench.failures import DataError
from xent_bench.randomness import generator
from xent_bench.training.run import run

CPU = torch.device("cpu")
CLASSES = ("n01440764", "n01443537", "n02102040")


def write_image(file: Path, rng: np.random.Generator) -> None:
    """A photograph's stand-in: smooth, so that JPEG keeps it, and of any size."""
    h, w = rng.integers(40, 90, 2)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    file.parent.mkdir(parents=True, exist_ok=True)
    coarse.resize((int(w), int(h)), Image.Resampling.BICUBIC).save(file, quality=95)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files in ImageNet's layout. Tests leave them as they are."""
    folder = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("val", 4)):
        for name in CLASSES:
            for number in range(n):
                write_image(folder / split / name / f"{name}_{number}.JPEG", rng)
    return folder


def source(data: ImageSet, ids: torch.Tensor, workers: int) -> Streamed:
    made = data.source(ids, CPU, workers, varied=True)
    assert isinstance(made, Streamed)
    return made


def test_imagenet_is_read_from_its_folders(root):
    data = imagenet(root=str(root), size=32)

    assert data.classes == CLASSES
    assert data.shape == (3, 32, 32)
    assert data.labels.bincount().tolist() == [16, 16, 16]
    assert torch.equal(data.test, torch.arange(36, 48))
    assert data.labels[data.test].tolist() == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_no_pixel(root, workers):
    data = imagenet(root=str(root), size=16)
    order = torch.randperm(36, generator=generator(0, "some"))
    passes = [
        torch.cat(list(read.varied(order, torch.arange(36), 8, generator(0, "draws", epoch))))
        for read in (source(data, torch.arange(36), count) for count in (0, workers))
        for epoch in range(2)
    ]

    assert torch.equal(passes[0], passes[2])
    assert torch.equal(passes[1], passes[3])
    assert not torch.equal(passes[0], passes[1])


@pytest.fixture
def ramp(tmp_path: Path) -> ImageFiles:
    """Red grows to the right, green downwards: a part tells where it was cut."""
    pixels = np.zeros((480, 640, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, 640)
    pixels[..., 1] = np.linspace(0, 255, 480)[:, None]
    Image.fromarray(pixels).save(tmp_path / "ramp.png")
    return ImageFiles.of(tmp_path, ["ramp.png"], 32)


def test_random_parts_hold_8_to_100_percent_of_an_image_and_are_half_the_time_mirrored(ramp):
    draws = torch.rand(300, 5, generator=generator(0, "parts")).tolist()
    parts = ramp.decode([(0, tuple(draw)) for draw in draws]).astype(float)
    width = (parts[:, :, -1, 0] - parts[:, :, 0, 0]).mean(axis=1) / 255 * 32 / 31
    height = (parts[:, -1, :, 1] - parts[:, 0, :, 1]).mean(axis=1) / 255 * 32 / 31

    assert (height > 0).all()
    assert 0.4 < (width < 0).mean() < 0.6
    area = np.abs(width) * height
    assert 0.06 < area.min() < 0.12
    assert 0.9 < area.max() < 1.05
    assert 0.45 < np.median(area) < 0.6  # uniform from 0.08 to 1


def test_evaluation_sees_the_middle_square_of_seven_eighths_of_the_shorter_side(ramp):
    (seen,) = ramp.decode([(0, None)]).astype(float)
    offset = (np.arange(32) + 0.5) * 420 / 32  # of 480 pixels
    across, down = (640 - 420) / 2 + offset, (480 - 420) / 2 + offset

    # the ramps' steps are cut down to whole numbers: half a shade on average
    for shade, place, pixels in ((seen[..., 0], across, 640), (seen[..., 1].T, down, 480)):
        expected = (place - 0.5) * 255 / (pixels - 1) - 0.5
        np.testing.assert_allclose(shade.mean(axis=0), expected, atol=1)


@pytest.mark.parametrize("draw", [(1.0, 0.0), (1.0, 1.0), (0.999, 0.5)])
@pytest.mark.parametrize("size", [(2000, 3), (3, 2000), (1, 1)])
def test_a_part_lies_within_an_image_of_any_shape(tmp_path, size, draw):
    Image.new("L", size, 77).save(tmp_path / "grey.png")
    files = ImageFiles.of(tmp_path, ["grey.png"], 8)

    assert (files.decode([(0, (*draw, 0.999, 0.999, 0.9))]) == 77).all()
    assert (files.decode([(0, None)]) == 77).all()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "damage", [lambda content: content[: len(content) // 2], lambda _: b"no image", lambda _: b""]
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, workers, damage):
    rng = np.random.default_rng(1)
    for name in ("cat", "dog"):
        for number in range(8):
            write_image(tmp_path / "train" / name / f"{number}.jpg", rng)
    file = tmp_path / "train" / "dog" / "3.jpg"
    file.write_bytes(damage(file.read_bytes()))
    data = image_folder(root=str(tmp_path), size=16)
    reading = source(data, torch.arange(16), workers).batches(torch.arange(16), 4)

    with pytest.raises(DataError, match=f"cannot read {file}") as refusal:
        list(reading)
    assert "\n" not in str(refusal.value)


def test_what_cannot_be_read_as_an_image_is_named_before_training(tmp_path):
    rng = np.random.default_rng(0)
    write_image(tmp_path / "train" / "cat" / "a.jpg", rng)
    pipe = tmp_path / "train" / "cat" / "b.jpg"
    os.mkfifo(pipe)  # reading it would wait for ever

    with pytest.raises(DataError, match=f"expected an image, {pipe} is no file"):
        image_folder(root=str(tmp_path))


def test_a_class_whose_name_nobody_can_write_is_refused(tmp_path):
    name = os.fsdecode(b"\xff\xfe")
    write_image(tmp_path / "train" / name / "a.jpg", np.random.default_rng(0))

    with pytest.raises(DataError, match="the name of a class in UTF-8"):
        image_folder(root=str(tmp_path))


def test_sixteen_bits_a_pixel_are_refused_and_not_cut_at_eight(tmp_path):
    Image.fromarray(np.full((9, 9), 39_900, np.uint16)).save(tmp_path / "scan.png")

    with pytest.raises(DataError, match="expected 8 bits a channel, got mode I;16"):
        ImageFiles.of(tmp_path, ["scan.png"], 8).decode([(0, None)])


def test_what_fills_no_batch_of_train_is_not_decoded(root, monkeypatch):
    data = imagenet(root=str(root), size=16)
    seen = []
    decode = ImageFiles.decode
    monkeypatch.setattr(
        ImageFiles, "decode", lambda files, wanted: seen.extend(wanted) or decode(files, wanted)
    )
    ids = torch.arange(36)
    batches = ShuffledBatches(
        source(data, ids, 0),
        data.labels,
        data.normalisation(ids),
        10,
        encode=lambda labels: labels,
        augmentation=data.augmentation,
        seed=0,
    )
    seen.clear()

    assert [len(images) for images, _ in batches] == [10, 10, 10]
    assert len(seen) == 30


def test_val_is_imagenets_test_split_also_beside_a_folder_called_test(root, tmp_path):
    for name in ("train", "val"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "test").mkdir()

    assert len(imagenet(root=str(tmp_path)).test) == 12


def test_a_set_without_a_test_folder_has_a_test_split_drawn(root, tmp_path):
    (tmp_path / "train").symlink_to(root / "train")

    assert image_folder(root=str(tmp_path)).test is None


@pytest.mark.parametrize(
    ("made", "load", "complaint"),
    [
        ("elsewhere/a.jpg", image_folder, "no folder .*/train"),
        ("train/a.jpg", image_folder, "found no folder"),
        ("train/cat/a.txt", image_folder, "expected images in .*/train/cat, found none"),
        (
            "train/cat/a.jpg test/cow/b.jpg",
            image_folder,
            "no class of train with an image is called cow",
        ),
        ("train/n1/a.jpg val/ILSVRC2012_val_00000001.JPEG", imagenet, "a folder for each class"),
    ],
)
def test_another_layout_is_refused_and_the_right_one_named(tmp_path, made, load, complaint):
    for name in made.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    with pytest.raises(DataError, match=complaint):
        load(root=str(tmp_path))


def test_another_list_of_files_is_another_set(root):
    one, same, other = (imagenet(root=str(root), size=size) for size in (16, 16, 32))

    assert one.sha256() == same.sha256() != other.sha256()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_what_tells_a_process_group_to_end_does_not_end_the_decoders(root, told):
    data = imagenet(root=str(root), size=16)
    order = torch.arange(40).remainder(36)
    batches = source(data, torch.arange(36), workers=2).batches(order, batch_size=4)
    first = [next(batches), next(batches)]  # one of each decoder, so both listen
    decoders = multiprocessing.active_children()
    for each in decoders:
        os.kill(each.pid, told)
    rest = list(batches)

    assert len(decoders) == 2
    alone = list(source(data, torch.arange(36), workers=0).batches(order, batch_size=4))
    assert torch.equal(torch.cat([*first, *rest]), torch.cat(alone))


def test_a_run_on_files_is_repeated_with_another_number_of_workers(config, root):
    base = ("data=imagenet", f"data.root={root}", "data.size=16", "model=linear", "epochs=2")
    results = [
        run(config("batch_size=8", f"machine.workers={workers}", base=base, folder=str(workers)))
        for workers in (0, 2)
    ]

    assert results[0]["tags"]["weights_sha256"] == results[1]["tags"]["weights_sha256"]
    assert results[0]["metrics"] == results[1]["metrics"]
