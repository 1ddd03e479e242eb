"""Image sets, splits, batches, augmentation."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from xent_bench.data.augment import Augmentation, crop, flip
from xent_bench.data.batches import Batches, Normalisation, ShuffledBatches
from xent_bench.data.digits import digits
from xent_bench.data.fashion_mnist import DEBIAN, fashion_mnist
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import split
from xent_bench.data.synthetic import synthetic
from xent_bench.failures import DataError

VARIED = Augmentation(flip=True, crop=2)


@pytest.fixture(scope="module")
def real() -> ImageSet:
    return digits()


def test_digits_are_the_1797_images_of_the_uci_repository(real):
    assert real.images.shape == (1797, 1, 8, 8)
    assert real.index.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_splits_are_disjoint_and_complete(real):
    ids = torch.cat(split(real, seed=0))

    assert torch.equal(ids.sort().values, torch.arange(1797))


def test_splits_are_stratified(real):
    shares = real.index.bincount() / len(real.images)

    for ids in split(real, seed=3):
        expected = shares * len(ids)
        assert (real.index[ids].bincount(minlength=10) - expected).abs().max() <= 1


def test_the_seed_draws_all_splits_but_test(real):
    one, same, other = split(real, seed=1), split(real, seed=1), split(real, seed=2)

    assert one.sha256() == same.sha256() != other.sha256()
    assert torch.equal(one.test, other.test)
    assert not torch.equal(one.train, other.train)


def test_an_official_test_split_stays_what_it_is():
    data = synthetic(n=200)
    official = ImageSet(data.images, data.labels, data.classes, test=torch.arange(150, 200))

    assert torch.equal(split(official, seed=0).test, torch.arange(150, 200))


def test_a_set_too_small_to_split_is_refused():
    with pytest.raises(DataError, match="four splits, got 3"):
        split(synthetic(n=3, classes=2), seed=0)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (torch.tensor([0, -100]), "labels from 0 to 2, got -100 to 0"),
        (torch.tensor([0, 3]), "labels from 0 to 2, got 0 to 3"),
        (torch.tensor([0]), "a label for each of 2 images, got 1"),
        (torch.ones(2, 4) / 4, r"soft labels of shape \(2, 3\), got \(2, 4\)"),
        (torch.ones(2, 3), "sum to 1"),
        (torch.full((2, 3), float("nan")), "sum to 1"),
        (torch.tensor([0, 1], dtype=torch.int32), "labels in int64"),
    ],
)
def test_labels_that_a_loss_would_swallow_are_refused(labels, complaint):
    with pytest.raises(DataError, match=complaint):
        ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), labels, ("a", "b", "c"))


@pytest.mark.parametrize("images", [torch.rand(2, 1, 4, 4), torch.zeros(2, 4, 4).byte()])
def test_images_other_than_uint8_with_channels_are_refused(images):
    with pytest.raises(DataError, match="expected images in uint8"):
        ImageSet(images, torch.tensor([0, 1]), ("a", "b"))


@pytest.mark.parametrize(
    "test", [torch.arange(-2, 0), torch.tensor([1, 1]), torch.tensor([2]), torch.tensor([True])]
)
def test_ids_of_test_that_would_leak_into_train_are_refused(test):
    with pytest.raises(DataError, match="expected the ids of test"):
        ImageSet(torch.zeros(2, 1, 4, 4).byte(), torch.tensor([0, 1]), ("a", "b"), test=test)


def test_a_crop_as_large_as_the_image_is_refused():
    with pytest.raises(DataError, match=r"data.crop below the images' 8 pixels: 8"):
        synthetic(crop=8)


def test_train_images_are_normalised_channel_by_channel():
    images = synthetic(n=500, channels=3).images
    pixels = Normalisation.of(images)(images).transpose(0, 1).flatten(1)

    torch.testing.assert_close(pixels.mean(dim=1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(pixels.std(dim=1), torch.ones(3), atol=1e-5, rtol=0)


def shuffled(seed: int = 0, augmentation: Augmentation = VARIED):
    data = synthetic(n=100)
    normalise = Normalisation.of(data.images)
    return ShuffledBatches(
        *(data.images, (data.labels,), torch.arange(100), normalise, 16),
        seed=seed,
        augmentation=augmentation,
    )


def one_pass(batches: Batches, epoch: int = 0) -> torch.Tensor:
    batches.set_epoch(epoch)
    return torch.cat([images for images, _ in batches])


def test_a_batch_is_a_function_of_seed_and_epoch_alone():
    straight = shuffled()
    one_pass(straight, epoch=0)

    assert torch.equal(one_pass(straight, epoch=1), one_pass(shuffled(), epoch=1))
    assert not torch.equal(one_pass(shuffled(), epoch=0), one_pass(shuffled(), epoch=1))
    assert not torch.equal(one_pass(shuffled(), epoch=0), one_pass(shuffled(seed=1), epoch=0))


def test_train_batches_are_full_and_hold_no_example_twice():
    batches = list(shuffled(augmentation=Augmentation()))

    assert [len(images) for images, _ in batches] == [16] * 6
    assert len(torch.cat([images for images, _ in batches]).flatten(1).unique(dim=0)) == 96


def test_evaluation_batches_hold_every_example_once_in_order():
    data = synthetic(n=100)
    batches = Batches(
        data.images, (data.labels,), torch.arange(100, 200), Normalisation.of(data.images), 16
    )

    assert torch.equal(torch.cat([labels for _, labels, _ in batches]), data.labels)
    assert torch.equal(torch.cat([ids for *_, ids in batches]), torch.arange(100, 200))
    assert len(batches) == len(list(batches)) == 7


def test_only_the_chosen_images_are_mirrored():
    images = torch.arange(8.0).reshape(2, 1, 1, 4)
    mirrored = flip(images, torch.tensor([False, True]))

    assert mirrored.flatten(1).tolist() == [[0, 1, 2, 3], [7, 6, 5, 4]]


def test_a_crop_is_a_shift_with_reflected_borders(rng):
    images = torch.randn(5, 2, 6, 6, generator=rng)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2), mode="reflect")
    corner = torch.tensor([[0, 0], [2, 2], [4, 1], [0, 3], [4, 4]])

    expected = [padded[i, :, r : r + 6, c : c + 6] for i, (r, c) in enumerate(corner.tolist())]
    assert torch.equal(crop(images, corner, padding=2), torch.stack(expected))


def test_the_synthetic_task_is_the_same_for_everyone():
    assert synthetic(n=50).sha256() == synthetic(n=50).sha256() != synthetic(n=51).sha256()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Four small files in the real format: train gzipped, as published, the others plain."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            content += array.tobytes()
            file = tmp_path / f"{part}-{name}-ubyte"
            if part == "train":
                file.with_name(file.name + ".gz").write_bytes(gzip.compress(content))
            else:
                file.write_bytes(content)
    return tmp_path


def test_fashion_mnist_is_read_from_idx_files(idx_folder):
    data = fashion_mnist(root=str(idx_folder))
    expected = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)

    assert data.images.shape == (80, 1, 28, 28)
    assert np.array_equal(data.images[:60, 0].numpy(), expected)
    assert data.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert torch.equal(data.test, torch.arange(60, 80))


def test_fashion_mnist_is_found_where_torchvision_puts_it(idx_folder, tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in list(idx_folder.glob("*ubyte*")):
        file.rename(raw / file.name)

    assert len(fashion_mnist(root=str(tmp_path)).images) == 80


def test_missing_fashion_mnist_names_the_three_ways_to_get_it(tmp_path):
    with pytest.raises(DataError) as refusal:
        fashion_mnist(root=str(tmp_path))

    for way in ("dataset-fashion-mnist", "data.root=", "data.download=true", str(tmp_path)):
        assert way in str(refusal.value)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda content: content[:-1], "is cut off: expected 20 x 28 x 28 values, got 15679"),
        (lambda content: b"PNG" + content, "expected an IDX file"),
        (lambda _: b"", "expected an IDX file"),
    ],
)
def test_a_damaged_idx_file_is_named(idx_folder, damage, complaint):
    file = idx_folder / "t10k-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(DataError, match=complaint) as refusal:
        fashion_mnist(root=str(idx_folder))
    assert str(file) in str(refusal.value)


def test_an_unfinished_download_is_no_data_set(idx_folder):
    (idx_folder / "t10k-labels-idx1-ubyte").unlink()

    with pytest.raises(DataError, match="four files not found"):
        fashion_mnist(root=str(idx_folder))


def test_a_truncated_gzip_file_is_named(idx_folder):
    file = idx_folder / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-12])

    with pytest.raises(DataError, match=r"cannot read .*train-labels"):
        fashion_mnist(root=str(idx_folder))


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist_is_complete_and_balanced():
    data = fashion_mnist()

    assert data.images.shape == (70_000, 1, 28, 28)
    assert data.index[data.test].bincount().tolist() == [1000] * 10
    assert [len(ids) for ids in split(data, seed=0)] == [50_000, 5_000, 5_000, 10_000]
