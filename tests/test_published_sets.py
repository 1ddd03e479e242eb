"""Published sets of corrupted images: small files in the real layouts, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xent_bench.corruptions.published import PublishedSet, published_set
from xent_bench.corruptions.published_arrays import PublishedArrays
from xent_bench.corruptions.published_files import File, PublishedFiles
from xent_bench.failures import DataError

N = 4  # images of test
CLEAN = [File("n01", "a.JPEG"), File("n01", "b.JPEG"), File("n02", "c.JPEG")]


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def cifar_c(tmp_path: Path) -> Path:
    """CIFAR-10-C: five severities one after another in each file, and the labels five times."""
    for seed, name in enumerate(("fog", "contrast")):
        np.save(tmp_path / f"{name}.npy", pixels(5 * N, 32, 32, 3, seed=seed))
    np.save(tmp_path / "labels.npy", np.tile(np.array([3, 8, 8, 0], np.uint8), 5))
    return tmp_path


@pytest.fixture
def mnist_c(tmp_path: Path) -> Path:
    """MNIST-C: train and test files in a folder for each corruption."""
    for seed, name in enumerate(("fog", "zigzag")):
        folder = tmp_path / name
        folder.mkdir()
        for split, n in (("train", 6), ("test", N)):
            np.save(folder / f"{split}_images.npy", pixels(n, 28, 28, 1, seed=seed))
            np.save(folder / f"{split}_labels.npy", np.arange(n))
    return tmp_path


def write_files(root: Path, severities: tuple[int, ...] = (1, 2)) -> None:
    for severity in severities:
        for file in CLEAN:
            folder = root / str(severity) / file.class_name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(8, 8, 3)).save(folder / file.name)


@pytest.fixture
def imagenet_c(tmp_path: Path) -> Path:
    """ImageNet-C: a corruption by itself, and one in the folder that an archive unpacks to."""
    write_files(tmp_path / "fog")
    write_files(tmp_path / "noise/shot_noise", (3,))
    return tmp_path


def arrays(root: Path) -> PublishedArrays:
    opened = published_set(root)
    assert isinstance(opened, PublishedArrays)
    return opened


def files(root: Path) -> PublishedFiles:
    opened = published_set(root)
    assert isinstance(opened, PublishedFiles)
    return opened


def test_cifar_c_has_its_severities_in_a_row(cifar_c):
    opened = arrays(cifar_c)

    assert opened.names == ("contrast", "fog")
    assert opened.severities("fog") == (1, 2, 3, 4, 5)
    whole = np.load(cifar_c / "fog.npy")
    for severity in range(1, 6):
        images = opened.images("fog", severity)
        np.testing.assert_array_equal(images, whole[(severity - 1) * N : severity * N])
        assert opened.labels("fog", severity).tolist() == [3, 8, 8, 0]


def test_arrays_stay_in_their_files(cifar_c):
    images = arrays(cifar_c).images("fog", 5)

    assert isinstance(images, np.memmap)
    assert not images.flags.writeable


def test_labels_of_one_severity_do_for_all(cifar_c):
    np.save(cifar_c / "labels.npy", np.arange(N))

    assert arrays(cifar_c).labels("fog", 4).tolist() == [0, 1, 2, 3]


def test_mnist_c_is_read_from_its_test_files_at_one_severity(mnist_c):
    opened = arrays(mnist_c)

    assert opened.names == ("fog", "zigzag")
    assert opened.severities("zigzag") == (1,)
    np.testing.assert_array_equal(
        opened.images("zigzag", 1), np.load(mnist_c / "zigzag/test_images.npy")
    )
    assert opened.labels("zigzag", 1).tolist() == [0, 1, 2, 3]


def test_images_without_an_axis_for_channels_are_grey(mnist_c):
    np.save(mnist_c / "fog/test_images.npy", pixels(N, 28, 28))

    assert arrays(mnist_c).images("fog", 1).shape == (N, 28, 28, 1)


def test_files_are_found_by_the_class_and_name_of_the_clean_image(imagenet_c):
    opened = files(imagenet_c)

    assert opened.names == ("fog", "shot_noise")
    assert opened.severities("fog") == (1, 2)
    assert opened.severities("shot_noise") == (3,)
    assert opened.folder("shot_noise", 3) == imagenet_c / "noise/shot_noise/3"
    assert list(opened.files("fog", 2)) == CLEAN
    order = [CLEAN[2], CLEAN[0], File("n01", "b.png")]  # clean files may have another format
    assert opened.names_of("fog", 2, order) == ["n02/c.JPEG", "n01/a.JPEG", "n01/b.JPEG"]


def test_the_labels_of_test_are_accepted(cifar_c):
    arrays(cifar_c).check("fog", 3, torch.tensor([3, 8, 8, 0]))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([3, 8, 8], "expected 3 images in .*fog.npy at severity 3, as test has, got 4"),
        ([3, 8, 8, 1], "others for 1 of 4 images: these are corrupted images of another data set"),
    ],
)
def test_another_test_split_is_refused(cifar_c, labels, words):
    with pytest.raises(DataError, match=words):
        arrays(cifar_c).check("fog", 3, torch.tensor(labels))


def test_severities_whose_labels_differ_are_each_checked(cifar_c):
    labels = np.load(cifar_c / "labels.npy")
    labels[4 * N] = 9
    np.save(cifar_c / "labels.npy", labels)

    arrays(cifar_c).check("fog", 4, torch.tensor([3, 8, 8, 0]))
    with pytest.raises(DataError, match="others for 1 of 4"):
        arrays(cifar_c).check("fog", 5, torch.tensor([3, 8, 8, 0]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pixels(5 * N + 1, 32, 32, 3), "n a multiple of 5"),
        (pixels(5 * N, 32, 32, 3).astype(np.float32), "expected uint8 images .* got float32"),
        (pixels(5 * N, 32, 32, 4), r"got uint8 \(20, 32, 32, 4\)"),
        (pixels(5 * N, 3072), r"got uint8 \(20, 3072\)"),
        (pixels(0, 32, 32, 3), r"got uint8 \(0, 32, 32, 3\)"),
        (np.array(5), r"got int64 \(\)"),
        (np.array([{}], object), "cannot read .*fog.npy"),
    ],
    ids=["cut off", "floats", "four channels", "flat", "empty", "a number", "objects"],
)
def test_an_array_of_another_form_is_refused(cifar_c, content, words):
    np.save(cifar_c / "fog.npy", content, allow_pickle=True)

    with pytest.raises(DataError, match=words):
        arrays(cifar_c).images("fog", 1)


@pytest.mark.parametrize("length", [0, 5, 100, 3000])
def test_a_file_that_is_cut_off_is_refused(cifar_c, length):
    file = cifar_c / "fog.npy"
    file.write_bytes(file.read_bytes()[:length])

    with pytest.raises(DataError, match=r"cannot read .*fog\.npy"):
        arrays(cifar_c).images("fog", 1)


@pytest.mark.parametrize(
    "labels", [np.arange(N + 1), np.zeros(5 * N), np.zeros((5 * N, 10), np.int64)]
)
def test_labels_of_another_form_are_refused(cifar_c, labels):
    np.save(cifar_c / "labels.npy", labels)

    with pytest.raises(DataError, match=r"expected 20 whole numbers in .*labels\.npy"):
        arrays(cifar_c).labels("fog", 1)


def test_missing_labels_are_refused(mnist_c):
    (mnist_c / "fog/test_labels.npy").unlink()

    with pytest.raises(DataError, match=r"cannot read .*test_labels\.npy: No such file"):
        arrays(mnist_c).labels("fog", 1)


def test_a_name_or_severity_that_there_is_none_of_is_refused(cifar_c):
    opened = arrays(cifar_c)

    with pytest.raises(DataError, match=r"expected a corruption of contrast, fog in .*, got snow"):
        opened.images("snow", 1)
    with pytest.raises(DataError, match=r"fog in .* has severity 1 to 5, got 6"):
        opened.labels("fog", 6)


def test_files_that_there_are_none_of_are_refused(imagenet_c):
    opened = files(imagenet_c)

    with pytest.raises(
        DataError, match=r"expected a corruption of fog, shot_noise in .*, got snow"
    ):
        opened.severities("snow")
    with pytest.raises(DataError, match=r"shot_noise in .* has severity 3, got 1"):
        opened.files("shot_noise", 1)


def test_a_clean_image_without_a_corrupted_one_is_refused(imagenet_c):
    clean = [*CLEAN, File("n02", "d.JPEG")]

    with pytest.raises(DataError, match=r"got none of 1 of 4, such as n02/d\.JPEG"):
        files(imagenet_c).names_of("fog", 1, clean)


def test_corrupted_images_of_more_than_test_are_refused(imagenet_c):
    with pytest.raises(DataError, match=r"got 1 others, such as n02/c\.JPEG"):
        files(imagenet_c).names_of("fog", 1, CLEAN[:2])


def nothing(root: Path) -> None:
    """Leave the folder empty."""


def no_labels(root: Path) -> None:
    np.save(root / "fog.npy", pixels(5, 8, 8, 3))


def only_labels(root: Path) -> None:
    np.save(root / "labels.npy", np.zeros(5, np.int64))


def archive(root: Path) -> None:
    (root / "CIFAR-10-C.tar").touch()


def one_level_up(root: Path) -> None:
    (root / "CIFAR-10-C").mkdir()
    only_labels(root / "CIFAR-10-C")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (nothing, "but the folder is empty"),
        (no_labels, r"there is fog\.npy, but no labels\.npy"),
        (only_labels, r"expected NAME\.npy beside .*labels\.npy, got none"),
        (archive, r"CIFAR-10-C\.tar is an archive, so unpack it first"),
        (one_level_up, "there is such a set in .*CIFAR-10-C"),
    ],
)
def test_a_folder_of_another_layout_is_refused(
    tmp_path: Path, make: Callable[[Path], None], words: str
):
    make(tmp_path)

    with pytest.raises(DataError, match=words) as refusal:
        published_set(tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read shift\.root=.*nowhere: No such file"):
        published_set(tmp_path / "nowhere")


def test_every_kind_of_set_lists_its_names_and_severities(cifar_c):
    opened: PublishedSet = published_set(str(cifar_c))

    assert {name: opened.severities(name) for name in opened.names} == {
        "contrast": (1, 2, 3, 4, 5),
        "fog": (1, 2, 3, 4, 5),
    }
