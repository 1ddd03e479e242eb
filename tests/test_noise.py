"""Label noise: who changes, to what, how often; and the same for every loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import binom, truncnorm

from xent_bench.conditions.class_maps import CIFAR10, CIFAR100, FASHION, class_map
from xent_bench.conditions.instance_noise import rates_of_images
from xent_bench.conditions.noise import with_noise
from xent_bench.conditions.noise_count import least_p
from xent_bench.conditions.transition import transition
from xent_bench.config.configure import ConfigError
from xent_bench.config.schema import Noise, NoiseKind, NoisyOrClean
from xent_bench.data.digits import digits
from xent_bench.data.fashion_mnist import CLASSES as FASHION_CLASSES
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits, split
from xent_bench.failures import DataError

N, C = 2400, 6
MAP = {0: 1, 1: 0, 4: 2}


def images(n: int = N, c: int = C) -> ImageSet:
    """Random pixels, in classes that take turns; the last sixth is test."""
    pixels = torch.randint(256, (n, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    names = tuple(f"class {number}" for number in range(c))
    test = torch.arange(n - n // 6, n)
    return ImageSet(pixels.byte(), torch.arange(n) % c, names, test=test)


@pytest.fixture(scope="module")
def data() -> ImageSet:
    return images()


@pytest.fixture(scope="module")
def splits(data) -> Splits:
    return split(data, 0)


def noise(kind: str, rate: float = 0.0, **keys: object) -> Noise:
    return Noise(kind=NoiseKind(kind), rate=rate, **keys)


def counts(data: ImageSet, ids: torch.Tensor) -> np.ndarray:
    """How often each class became each class."""
    matrix = np.zeros((len(data.classes), len(data.classes)), dtype=int)
    np.add.at(matrix, (data.clean[ids].numpy(), data.labels[ids].numpy()), 1)
    return matrix


@pytest.fixture
def matrix_file(tmp_path):
    rows = np.full((C, C), 0.02)
    np.fill_diagonal(rows, 0.9)
    rows[2] = [0.5, 0, 0.25, 0.25, 0, 0]
    np.savetxt(tmp_path / "matrix.csv", rows, delimiter=",")
    return tmp_path / "matrix.csv", rows


EXPECTED = {
    "symmetric": lambda r: np.full((C, C), r / (C - 1)) + np.eye(C) * (1 - r - r / (C - 1)),
    "pair": lambda r: np.eye(C) * (1 - r) + r * np.roll(np.eye(C), 1, axis=1),
    "asymmetric": lambda r: np.array(
        [
            [1 - r, r, 0, 0, 0, 0],
            [r, 1 - r, 0, 0, 0, 0],
            [0, 0, 1, 0, 0, 0],
            [0, 0, 0, 1, 0, 0],
            [0, 0, r, 0, 1 - r, 0],
            [0, 0, 0, 0, 0, 1],
        ]
    ),
}


@pytest.mark.parametrize("kind", ["symmetric", "pair", "asymmetric", "matrix"])
def test_realised_matrices_are_those_asked_for_within_their_binomial_bands(
    kind, data, splits, matrix_file
):
    keys = {"asymmetric": {"map": MAP}, "matrix": {"matrix": str(matrix_file[0])}}.get(kind, {})
    rate = 0.0 if kind == "matrix" else 0.3
    expected = matrix_file[1] if kind == "matrix" else EXPECTED[kind](rate)
    total = sum(
        counts(with_noise(data, splits, noise(kind, rate, **keys), seed), splits.train)
        for seed in range(20)
    )
    n = total.sum(axis=1, keepdims=True)
    level = 1e-4 / C**2  # of a cell, so that all of them together err once in 10,000 tests
    low, high = binom.ppf(level / 2, n, expected), binom.ppf(1 - level / 2, n, expected)
    assert (total >= low).all()
    assert (total <= high).all()
    assert not total[expected == 0].any()


def test_noise_by_instance_has_its_rate_and_never_leaves_a_label_that_it_changes(data, splits):
    noisy = [with_noise(data, splits, noise("instance", 0.3), seed) for seed in range(20)]
    changed = torch.stack([(one.labels != one.clean)[splits.train] for one in noisy]).double()
    assert changed.mean().item() == pytest.approx(0.3, abs=4 * 0.5 / changed.numel() ** 0.5)
    same_pixels = replace(data, images=data.images[:1].expand(N, 1, 4, 4).clone())
    one_image = with_noise(same_pixels, splits, noise("instance", 1.0), 0)
    becomes = counts(one_image, splits.train)
    flipped = (one_image.labels != one_image.clean)[splits.train]
    assert flipped.all()
    assert not ((becomes.argmax(axis=1) == np.arange(C)).any())


@pytest.mark.parametrize("rate", [0.001, 0.005, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99])
def test_rates_of_images_are_a_normal_cut_to_0_and_1_with_the_mean_that_is_asked_for(rate):
    quantiles = (torch.arange(100_000).double() + 0.5) / 100_000
    rates = rates_of_images(rate, quantiles)
    assert rates.mean().item() == pytest.approx(rate, rel=1e-3)
    assert 0 <= rates.min() <= rates.max() <= 1
    assert (rates.diff() >= 0).all()
    assert (rates_of_images(min(1, rate + 0.02), quantiles) >= rates).all()
    if 0.01 <= rate <= 0.99:  # the mean of the normal, found from scipy's own truncated normal

        def cut(mean):
            return truncnorm((0 - mean) / 0.1, (1 - mean) / 0.1, loc=mean, scale=0.1)

        mean = brentq(lambda mean: cut(mean).mean() - rate, -2, 3)
        expected = cut(mean).ppf([0.1, 0.5, 0.9])
        assert rates[[9_999, 49_999, 89_999]].tolist() == pytest.approx(expected, rel=1e-3)


def test_the_noise_of_an_image_does_not_depend_on_other_images(data, splits):
    pixels = data.images.clone()
    pixels[splits.test] = 255 - pixels[splits.test]
    one, other = (
        with_noise(replace(data, images=images), splits, noise("instance", 0.4), 0)
        for images in (data.images, pixels)
    )
    assert torch.equal(one.labels, other.labels)


def test_the_instance_decides_where_noise_by_instance_leads(data, splits):
    """Images that are equal, in one class, go to classes of one distribution: that of softmax."""
    pixels = data.images.clone()
    pixels[::2] = pixels[0]  # classes 0, 2 and 4 have two kinds of images each
    other = with_noise(replace(data, images=pixels), splits, noise("instance", 0.9), 3)
    of_one_image = [
        other.labels[image].item()
        for image in splits.train.tolist()
        if image % 2 == 0 and image % C == 2
    ]
    shares = np.bincount(of_one_image, minlength=C) / len(of_one_image)
    assert shares[2] == pytest.approx(0.1, abs=0.06)
    assert shares.max() > 0.5  # 16 standard normal weights make softmax nearly one-hot


@pytest.mark.parametrize("kind", ["symmetric", "pair", "asymmetric", "instance"])
def test_labels_that_change_at_a_small_rate_change_alike_at_a_large_one(kind, data, splits):
    keys = {"map": MAP} if kind == "asymmetric" else {}
    few, more = (with_noise(data, splits, noise(kind, rate, **keys), 1) for rate in (0.2, 0.4))
    changed = few.labels != few.clean
    assert changed.any()
    assert torch.equal(few.labels[changed], more.labels[changed])
    assert (more.labels != more.clean).sum() > changed.sum()


def test_test_and_pixels_are_those_of_the_clean_run(data, splits):
    noisy = with_noise(data, splits, noise("symmetric", 0.8), 0)
    assert torch.equal(noisy.labels[splits.test], data.labels[splits.test])
    assert noisy.images is data.images
    assert torch.equal(noisy.clean, data.labels)
    assert noisy.sha256() == data.sha256()  # the same data set, whatever was drawn
    for ids in (splits.train, splits.val, splits.calib):
        assert (noisy.labels[ids] != data.labels[ids]).any()


def test_val_and_calib_can_stay_clean(data, splits):
    noisy = with_noise(data, splits, noise("pair", 1.0, val=NoisyOrClean.clean), 0)
    for ids in (splits.val, splits.calib, splits.test):
        assert torch.equal(noisy.labels[ids], data.labels[ids])
    assert torch.equal(noisy.labels[splits.train], (data.labels[splits.train] + 1) % C)


def test_a_seed_of_its_own_makes_the_noise_independent_of_the_runs_seed(data, splits):
    drawn = [
        with_noise(data, splits, noise("symmetric", 0.5, seed=own), seed).labels
        for own, seed in ((None, 0), (None, 1), (7, 0), (7, 1))
    ]
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[2], drawn[3])


def test_the_draw_of_an_image_does_not_depend_on_the_splits(data):
    one, other = (
        with_noise(data, split(data, seed), noise("pair", 0.4, seed=0), 0) for seed in (0, 1)
    )
    both = torch.tensor(
        sorted(set(split(data, 0).train.tolist()) & set(split(data, 1).train.tolist()))
    )
    assert torch.equal(one.labels[both], other.labels[both])


def test_published_maps_are_found_by_the_names_of_the_classes():
    by_name = {
        FASHION_CLASSES[a]: FASHION_CLASSES[b] for a, b in class_map(None, FASHION_CLASSES).items()
    }
    assert by_name == FASHION
    assert set(FASHION) | set(FASHION.values()) <= set(FASHION_CLASSES)
    assert len(CIFAR100) == 100
    assert sorted(CIFAR100) == sorted(CIFAR100.values())  # each class is taken for one other
    assert (CIFAR100["bed"], CIFAR100["wardrobe"]) == ("chair", "bed")
    assert CIFAR10["cat"] == "dog"
    cifar10 = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    assert class_map(None, cifar10) == {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        (None, "has to be given for these classes"),
        ({"cat": "dog"}, "expected names of classes, or numbers from 0 to 5, got 'cat'"),
        ({0: 6}, "got 6"),
        ({0: 0}, "taken for another one, got none"),
        ({"class 0": 1, 0: 2}, "each class once"),
        ([0, 1], "expected a map"),
    ],
)
def test_wrong_maps_are_refused(typed, complaint, data):
    with pytest.raises(ConfigError, match=complaint):
        transition(noise("asymmetric", 0.1, map=typed), data.classes)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (np.eye(5), "expected 6 x 6 numbers .* got 5 x 5"),
        (np.eye(6) * 0.9, "sum to 1 .* in row 0 a sum of 0.9"),
        (np.eye(6) + np.eye(6, k=1) - np.eye(6, k=2), "least value of -1"),
        (np.full((6, 6), np.nan), "in row 0"),
        (np.ones(6), "got 6"),
    ],
)
def test_wrong_matrices_are_refused(rows, complaint, tmp_path, data):
    np.save(tmp_path / "matrix.npy", rows)
    with pytest.raises(DataError, match=complaint):
        transition(noise("matrix", matrix=str(tmp_path / "matrix.npy")), data.classes)


def test_a_matrix_that_is_no_file_of_numbers_is_refused(tmp_path, data):
    (tmp_path / "matrix.csv").write_text("a,b\n")
    (tmp_path / "matrix.npy").write_bytes(b"\x93NUMPY")
    for name in ("matrix.csv", "matrix.npy"):
        with pytest.raises(DataError, match=r"cannot read noise\.matrix="):
            transition(noise("matrix", matrix=str(tmp_path / name)), data.classes)
    with pytest.raises(ConfigError, match=r"\.npy or \.csv"):
        transition(noise("matrix", matrix="matrix.txt"), data.classes)


def test_distributions_are_no_labels_to_change(data, splits):
    soft = replace(data, labels=torch.eye(C)[data.labels])
    with pytest.raises(DataError, match="these labels are distributions"):
        with_noise(soft, splits, noise("symmetric", 0.1), 0)


def from_file(data: ImageSet, splits: Splits, file, column: str | None = None) -> torch.Tensor:
    return with_noise(data, splits, noise("file", labels=str(file), column=column), 0).labels


def test_labels_of_every_kind_of_file_are_used_for_all_but_test(tmp_path, data, splits):
    wrong = torch.where(torch.arange(N) % 7 < 3, (data.labels + 1) % C, data.labels)
    not_test = torch.arange(N - N // 6)
    expected = wrong.clone()
    expected[splits.test] = data.labels[splits.test]
    np.save(tmp_path / "all.npy", wrong.numpy())
    np.save(tmp_path / "official.npy", wrong[not_test].numpy().astype(np.uint8))
    published = {
        "clean_label": data.labels[not_test].numpy(),
        "worse_label": wrong[not_test].numpy(),
        "random_label1": data.labels[not_test].numpy(),
    }
    torch.save(published, tmp_path / "human.pt")
    torch.save({"noisy_label": wrong[not_test]}, tmp_path / "tensors.pt")
    shuffled = torch.randperm(N, generator=torch.Generator().manual_seed(0)).tolist()
    (tmp_path / "ids.csv").write_text(
        "id,label\n" + "".join(f"{image},class {wrong[image]}\n" for image in shuffled)
    )
    (tmp_path / "files.csv").write_text(
        "file,worse\n" + "".join(f"image {image},{wrong[image]}\n" for image in shuffled)
    )
    for name, column in {
        "all.npy": None,
        "official.npy": None,
        "human.pt": "worse_label",
        "tensors.pt": None,
        "ids.csv": None,
        "files.csv": "worse",
    }.items():
        assert torch.equal(from_file(data, splits, tmp_path / name, column), expected), name
    unchanged = from_file(data, splits, tmp_path / "human.pt", "random_label1")
    assert torch.equal(unchanged, data.labels)


def test_label_files_that_do_not_fit_are_refused(tmp_path, data, splits):
    labels = data.labels.numpy()
    np.save(tmp_path / "short.npy", labels[:-1])
    np.save(tmp_path / "other.npy", labels + 1)
    np.save(tmp_path / "fractions.npy", labels + 0.5)
    np.save(tmp_path / "rows.npy", labels[:, None])
    np.save(tmp_path / "objects.npy", np.array([{}] * N), allow_pickle=True)
    torch.save(
        {"clean_label": np.flip(labels).copy(), "noisy_label": labels}, tmp_path / "order.pt"
    )
    torch.save({"a": labels, "b": labels}, tmp_path / "two.pt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "code.pt")
    np.save(tmp_path / "shuffled.npy", np.random.default_rng(0).permutation(labels))
    (tmp_path / "twice.csv").write_text("id,label\n0,1\n0,1\n")
    (tmp_path / "far.csv").write_text(f"id,label\n{N},1\n")
    (tmp_path / "names.csv").write_text("file,label\nmissing.png,1\n")
    (tmp_path / "classes.csv").write_text("id,label\n0,cat\n")
    (tmp_path / "ragged.csv").write_text("id,label\n0,1\n1\n")
    for name, complaint in {
        "short.npy": "for each of the 2,400 images, or 2,000 without those of test, .* got 2,399",
        "other.npy": "labels from 0 to 5 .* got 1 to 6",
        "fractions.npy": "expected names of classes, or their numbers, .* got '0.5'",
        "rows.npy": "one label for each image .* got 2400 x 1",
        "objects.npy": "cannot read",
        "order.pt": "clean_label .* to be the labels of the data, in their order; .* differ",
        "code.pt": "cannot read",
        "shuffled.npy": r"right for \d+ of 2,400, as by chance: are they in another order",
        "twice.csv": "each image once .* got 0 twice",
        "far.csv": "ids from 0 to 2399",
        "names.csv": "such as missing.png",
        "classes.csv": "got 'cat'",
        "ragged.csv": "got 1 in line 3",
        "missing.npy": "cannot read .*No such file",
    }.items():
        with pytest.raises(DataError, match=complaint):
            from_file(data, splits, tmp_path / name)
    with pytest.raises(ConfigError, match=r"noise.column: has to be given, .* a, b"):
        from_file(data, splits, tmp_path / "two.pt")
    with pytest.raises(ConfigError, match="no 'c' in"):
        from_file(data, splits, tmp_path / "two.pt", "c")


def test_the_p_of_a_realised_matrix_is_small_in_as_many_cases_as_it_says(data, splits):
    matrix = transition(noise("symmetric", 0.3), data.classes).numpy()
    ps = [
        least_p(
            counts(with_noise(data, splits, noise("symmetric", 0.3), seed), splits.train), matrix
        )
        for seed in range(200)
    ]
    assert (np.array(ps) < 0.05).mean() <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    # noise that flips labels which it has flipped before is noticed
    twice = with_noise(data, splits, noise("pair", 0.4), 0)
    again = with_noise(replace(twice, clean=None), splits, noise("pair", 0.4), 1)
    realised = counts(replace(again, clean=data.labels), splits.train)
    assert least_p(realised, transition(noise("pair", 0.4), data.classes).numpy()) < 1e-6


def test_real_digits_keep_their_test_labels():
    data = digits()
    splits = split(data, 0)
    noisy = with_noise(data, splits, noise("symmetric", 0.4), 0)
    assert torch.equal(noisy.labels[splits.test], data.labels[splits.test])
    changed = (noisy.labels != data.labels)[splits.train].double().mean().item()
    assert changed == pytest.approx(0.4, abs=4 * (0.24 / len(splits.train)) ** 0.5)
