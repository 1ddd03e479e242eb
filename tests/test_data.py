"""Image sets, splits, batches, augmentation."""

import gzip
import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import beta, norm
from torch.nn import functional as F

from xent_bench.config.targets import encoder
from xent_bench.data.augment import Augmentation, cutout, mixup, rectangle
from xent_bench.data.batches import WHOLE, Batches, Normalisation, Share, ShuffledBatches
from xent_bench.data.digits import digits
from xent_bench.data.fashion_mnist import DEBIAN, fashion_mnist
from xent_bench.data.groups import Groups
from xent_bench.data.image_set import ImageSet
from xent_bench.data.mixing import Mixing
from xent_bench.data.resident import Resident
from xent_bench.data.split import split
from xent_bench.data.synthetic import posterior, synthetic
from xent_bench.failures import DataError
from xent_bench.randomness import generator

CPU = torch.device("cpu")
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
        (torch.full((2, 3), 0.334), "sum to 1"),
        (torch.tensor([[-0.5, 0.5, 1.0], [1.0, 0.0, 0.0]]), "at least 0"),
        (torch.full((2, 3), float("nan")), "sum to 1"),
        (torch.tensor([0, 1], dtype=torch.int32), "labels in int64"),
    ],
)
def test_labels_that_a_loss_would_swallow_are_refused(labels, complaint):
    with pytest.raises(DataError, match=complaint):
        ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), labels, ("a", "b", "c"))


def test_soft_labels_may_be_certain_and_rounded():
    labels = torch.tensor([[1.0, 0.0, 0.0], [0.33333, 0.33333, 0.33333]])
    data = ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), labels, ("a", "b", "c"))

    assert torch.equal(data.labels, labels)


@pytest.mark.parametrize("images", [torch.rand(2, 1, 4, 4), torch.zeros(2, 4, 4).byte()])
def test_images_other_than_uint8_with_channels_are_refused(images):
    with pytest.raises(DataError, match="expected images in uint8"):
        ImageSet(images, torch.tensor([0, 1]), ("a", "b"))


@pytest.mark.parametrize(
    "test", [torch.arange(-2, 0), torch.tensor([1, 1]), torch.tensor([2]), torch.tensor([True])]
)
def test_ids_of_test_that_would_leak_into_train_are_refused(test):
    with pytest.raises(DataError, match=r"expected the ids of test (in int64|.* from 0 to 1)"):
        ImageSet(torch.zeros(2, 1, 4, 4).byte(), torch.tensor([0, 1]), ("a", "b"), test=test)


def test_a_crop_as_large_as_the_image_is_refused():
    with pytest.raises(DataError, match=r"data.crop below the images' 8 pixels: 8"):
        synthetic(crop=8)


def test_train_images_are_normalised_channel_by_channel():
    images = synthetic(n=500, channels=3).images
    pixels, *_ = next(iter(in_order(images)))
    pixels = pixels.transpose(0, 1).flatten(1)

    torch.testing.assert_close(pixels.mean(dim=1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(pixels.std(dim=1), torch.ones(3), atol=1e-5, rtol=0)


def shuffled(
    seed: int = 0, augmentation: Augmentation = VARIED, channels: int = 1, share: Share = WHOLE
) -> ShuffledBatches:
    data = synthetic(n=100, channels=channels)
    return ShuffledBatches(
        Resident(data.images, CPU, augmentation),
        data.labels,
        Normalisation.of(data.images),
        16,
        encode=encoder("Distribution", 10, CPU),
        augmentation=augmentation,
        seed=seed,
        share=share,
    )


def one_pass(batches: ShuffledBatches, epoch: int = 0) -> torch.Tensor:
    batches.set_epoch(epoch)
    return torch.cat([images for images, _ in batches])


@pytest.mark.parametrize(
    "augmentation", [VARIED, Augmentation(cutout=3), Augmentation(mixup=1.0, cutmix=0.5)], ids=str
)
def test_a_batch_is_a_function_of_seed_and_epoch_alone(augmentation):
    straight, other = shuffled(0, augmentation), shuffled(1, augmentation)
    one_pass(straight, epoch=0)

    assert torch.equal(one_pass(straight, epoch=1), one_pass(shuffled(0, augmentation), epoch=1))
    assert not torch.equal(one_pass(straight, epoch=0), one_pass(straight, epoch=1))
    assert not torch.equal(one_pass(straight, epoch=0), one_pass(other, epoch=0))


def test_train_batches_are_full_and_hold_no_example_twice():
    batches = list(shuffled(augmentation=Augmentation()))

    assert [len(images) for images, _ in batches] == [16] * 6
    assert len(torch.cat([images for images, _ in batches]).flatten(1).unique(dim=0)) == 96


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize(
    "augmentation",
    [VARIED, Augmentation(mixup=1.0), Augmentation(cutout=3, mixup=1.0, cutmix=0.5)],
    ids=str,
)
def test_the_parts_of_a_batch_that_processes_train_are_together_the_whole(augmentation, processes):
    parts = [
        shuffled(augmentation=augmentation, share=Share(number, processes))
        for number in range(processes)
    ]

    for (images, target), *shares in zip(shuffled(augmentation=augmentation), *parts, strict=True):
        assert torch.equal(torch.cat([pixels for pixels, _ in shares]), images)
        assert torch.equal(torch.cat([labels for _, labels in shares]), target)


@pytest.mark.parametrize("seconds", [0, 0.1, 10])
def test_groups_hold_the_same_minibatches_however_long_they_take(monkeypatch, seconds):
    clock = itertools.count(step=seconds)
    monkeypatch.setattr("xent_bench.data.groups.time.monotonic", lambda: next(clock))
    whole = list(shuffled())
    groups = [list(group) for group in Groups(shuffled())]

    assert len(groups) == (6 if seconds else 3)  # of 1, of at most 4 times as many, of the rest
    for ours, (images, target) in zip(itertools.chain(*groups), whole, strict=True):
        assert torch.equal(ours[0], images)
        assert torch.equal(ours[1], target)


def test_groups_may_be_asked_for_before_the_epoch_is_told():
    batches = shuffled()
    groups = iter(Groups(batches))
    first = next(groups)
    batches.set_epoch(3)

    assert torch.equal(next(first)[0], next(iter(batches))[0])


def in_order(images: torch.Tensor, batch_size: int = 1000) -> Batches:
    """Labels count the images, ids begin at 100."""
    ids = torch.arange(len(images))
    moments = Normalisation.of(images)
    return Batches(Resident(images, CPU), (ids,), 100 + ids, moments, batch_size)


@pytest.mark.parametrize("channels", [1, 3])
def test_evaluation_batches_hold_every_example_once_in_order(channels):
    images = synthetic(n=100, channels=channels).images
    batches = in_order(images, 16)
    pixels, labels, ids = (torch.cat(part) for part in zip(*batches, strict=True))

    mean, std = Normalisation.of(images)
    assert torch.equal(pixels, (images - mean) / std)
    assert torch.equal(labels, torch.arange(100))
    assert torch.equal(ids, torch.arange(100, 200))
    assert len(batches) == len(list(batches)) == 7


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("border", [0, 2])
@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 8)], ids=str)
def test_a_varied_image_is_mirrored_then_padded_by_reflection_then_cropped(flip, border, shape):
    _, h, w = shape
    images = torch.randint(256, (7, *shape), dtype=torch.uint8)
    order = torch.randperm(7)
    resident = Resident(images, CPU, Augmentation(flip, border))
    found = torch.cat(list(resident.varied(order, torch.arange(7), 3, generator(0, "some"))))

    rng = generator(0, "some")
    mirrored = torch.rand(7, generator=rng) < 0.5
    corner = torch.randint(2 * border + 1, (7, 2), generator=rng)
    expected = []
    for image, over, (r, c) in zip(images[order], mirrored, corner.tolist(), strict=True):
        turned = image.flip(-1) if flip and over else image
        padded = F.pad(turned[None].float(), (border,) * 4, mode="reflect")[0].byte()
        expected.append(padded[:, r : r + h, c : c + w] if border else turned)
    rows = torch.stack(expected).permute(0, 2, 3, 1).flatten(2)
    assert torch.equal(found, rows)


def test_a_net_sees_channels_last_images():
    images, _ = next(iter(shuffled(channels=3)))

    assert images.shape == (16, 3, 8, 8)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_rectangle_is_cut_off_at_the_border():
    centre = torch.tensor([[0.5, 0.5], [0.0, 0.99]])
    sides = torch.tensor([[2.0, 4.0], [2.0, 2.0]])
    part = rectangle(centre, sides, (1, 4, 6))

    inside, corner = part.inside.tolist()
    assert inside == [[0] * 6, [0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0], [0] * 6]
    assert corner == [[0, 0, 0, 0, 0, 1], [0] * 6, [0] * 6, [0] * 6]
    torch.testing.assert_close(part.share, torch.tensor([8 / 24, 1 / 24]))


def test_a_rectangle_holds_all_channels_of_a_pixel():
    part = rectangle(torch.tensor([[0.5, 0.5]]), torch.tensor([[2.0, 2.0]]), (3, 2, 4))

    assert part.inside[0].tolist() == 2 * [3 * [0] + 6 * [1] + 3 * [0]]
    assert part.share.tolist() == [0.5]


def test_cutout_blanks_a_square_of_each_image_and_nothing_else(rng):
    images = torch.randn(50, 8, 8, generator=rng)
    square = rectangle(torch.rand(50, 2, generator=rng), torch.full((50, 2), 4.0), (1, 8, 8))
    blanked = cutout(images, square)

    changed = (blanked != images).flatten(1).sum(dim=1)
    assert changed.max() == 16  # all of the square
    assert changed.min() >= 4  # a quarter of it, in a corner
    assert set(blanked[blanked != images].tolist()) == {0.0}


def test_mixup_mixes_images_and_targets_by_the_same_share(rng):
    images, target = torch.randn(4, 3, 9, generator=rng), torch.eye(4)
    mixed, labels = mixup(images, target, torch.tensor([0.0, 0.25, 0.5, 1.0]))

    torch.testing.assert_close(mixed[1], 0.75 * images[1] + 0.25 * images[0])
    assert torch.equal(mixed[0], images[0])
    assert torch.equal(mixed[3], images[2])
    assert labels[1].tolist() == [0.25, 0.75, 0, 0]
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(4))


def mixing(n: int, **recipe: float) -> Mixing:
    shape = (1, 10, 10)
    everything = torch.arange(n)
    return Mixing(
        Augmentation(**recipe), n, everything, n, shape=shape, seed=0, epoch=0, device=CPU
    )


def test_cutmix_pastes_a_rectangle_and_its_area_is_the_share():
    images = torch.arange(64.0)[:, None, None].expand(64, 10, 10)
    mixed, target = mixing(64, cutmix=1.0)(0, images, torch.eye(64))

    for number, (image, row) in enumerate(zip(mixed, target, strict=True)):
        other = (number - 1) % 64
        assert set(image.unique().tolist()) <= {float(number), float(other)}
        torch.testing.assert_close(row[other], (image == other).float().mean())
        torch.testing.assert_close(row[number] + row[other], torch.tensor(1.0))
    assert len(target.amax(dim=1).unique()) > 20  # each example has a share of its own


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_of_mixup_are_beta_distributed(alpha):
    (share,) = mixing(20_000, mixup=alpha).share

    tenths = np.linspace(0.1, 0.9, 9)
    below = (share.numpy() < beta(alpha, alpha).ppf(tenths)[:, None]).mean(axis=1)
    np.testing.assert_allclose(below, tenths, atol=0.015)  # four standard errors


def test_with_mixup_and_cutmix_each_example_gets_one_of_them():
    both = mixing(1000, mixup=1.0, cutmix=1.0)
    (share,), (sides,) = both.share, both.sides

    boxed = sides[:, 0] > 0
    assert 0.45 < boxed.float().mean() < 0.55
    assert torch.equal(boxed, share == 0)


def test_the_posterior_of_a_synthetic_pixel_is_that_of_all_values_rounded_or_cut_to_it(
    monkeypatch,
):
    noise = 2.0
    drawn = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1), generator(0, "unused")
    monkeypatch.setattr("xent_bench.data.synthetic._patterns", lambda *_: drawn)
    shade = 127.5 / 3 / (1 + noise)  # of grey, a unit: three deviations fit
    shown = np.array([0, 1, 100, 128, 254, 255])

    ends = (np.append(np.r_[-np.inf, 0.5 + np.arange(255)], np.inf) - 127.5) / shade
    expected = []
    for pattern in (-1.0, 1.0):
        standard = (ends - pattern) / noise
        on_the_left = np.diff(norm.cdf(standard))
        on_the_right = -np.diff(norm.sf(standard))
        expected.append(np.where(standard[1:] < 0, on_the_left, on_the_right)[shown])
    images = torch.from_numpy(shown).byte().view(-1, 1, 1, 1)
    rows = posterior(images, n=10, classes=2, noise=noise).numpy()
    np.testing.assert_allclose(rows.T, expected / np.sum(expected, axis=0), rtol=1e-9)


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
