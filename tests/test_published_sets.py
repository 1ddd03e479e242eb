"""Published sets of corrupted images, read from small files in their real layouts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xent_bench.corruptions import EXTRA, NAMES
from xent_bench.corruptions.expected import Expected
from xent_bench.corruptions.published import PublishedSet, published_set
from xent_bench.failures import DataError

N = 6
LABELS = torch.tensor([2, 0, 1, 1, 0, 2])
CLASSES = ("n01440764", "n01443537", "n01484850")
COLOUR, GREY = (Expected(LABELS, CLASSES, shape) for shape in ((3, 8, 8), (1, 8, 8)))


def pixels(n: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


@pytest.fixture
def cifar_c(tmp_path: Path) -> Path:
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    for seed, name in enumerate(NAMES + EXTRA):
        np.save(folder / f"{name}.npy", pixels(5 * N, (8, 8, 3), seed))
    np.save(folder / "labels.npy", np.tile(LABELS.numpy(), 5).astype(np.uint8))
    return folder


@pytest.fixture
def mnist_c(tmp_path: Path) -> Path:
    folder = tmp_path / "mnist_c"
    for seed, name in enumerate(("identity", "zigzag", "fog")):
        (folder / name).mkdir(parents=True)
        np.save(folder / name / "test_images.npy", pixels(N, (8, 8, 1), seed))
        np.save(folder / name / "test_labels.npy", LABELS.numpy())
        np.save(folder / name / "train_images.npy", pixels(2 * N, (8, 8, 1)))
        np.save(folder / name / "train_labels.npy", np.tile(LABELS.numpy(), 2))
    return folder


FILES = [f"val/{CLASSES[label]}/ILSVRC2012_val_{i:08}.JPEG" for i, label in enumerate(LABELS)]
IN_FILES = Expected(LABELS, CLASSES, (3, 8, 8), FILES)


@pytest.fixture
def imagenet_c(tmp_path: Path) -> Path:
    """Two of the archives side by side: blur with one corruption, noise with another."""
    folder = tmp_path / "ImageNet-C"
    for group, name, level in (("blur", "defocus_blur", 40), ("noise", "shot_noise", 80)):
        for severity in range(1, 6):
            for i, file in enumerate(FILES):
                path = folder / group / name / str(severity) / Path(*Path(file).parts[1:])
                path.parent.mkdir(parents=True, exist_ok=True)
                value = level + 10 * i + severity
                Image.new("RGB", (8, 8), (value, value, value)).save(path, quality=95)
    return folder


EVERY = ("cifar_c", "mnist_c", "imagenet_c")


def opened(request: pytest.FixtureRequest, layout: str) -> tuple[PublishedSet, Expected]:
    tested = {"cifar_c": COLOUR, "mnist_c": GREY, "imagenet_c": IN_FILES}[layout]
    return published_set(request.getfixturevalue(layout)), tested


def test_a_file_holds_its_five_severities_one_after_the_other(cifar_c):
    published = published_set(cifar_c)
    part = published.part("fog", 3, COLOUR)
    file = np.load(cifar_c / "fog.npy")

    assert published.names == tuple(sorted(NAMES + EXTRA))
    assert published.severities("fog") == (1, 2, 3, 4, 5)
    assert torch.equal(part.labels, LABELS)
    expected = file[[2 * N + 4, 2 * N + 0]].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(part.images(torch.tensor([4, 0])).numpy(), expected)


def test_a_folder_of_mnist_c_holds_one_severity(mnist_c):
    published = published_set(mnist_c)
    part = published.part("zigzag", 1, GREY)

    assert published.names == ("fog", "identity", "zigzag")
    assert published.severities("zigzag") == (1,)
    stored = np.load(mnist_c / "zigzag" / "test_images.npy")
    np.testing.assert_array_equal(part.images(torch.arange(N)).numpy()[:, 0], stored[..., 0])


def test_files_are_read_in_the_order_of_test(imagenet_c):
    published = published_set(imagenet_c)
    part = published.part("shot_noise", 5, IN_FILES)
    images = part.images(torch.tensor([3, 1, 5]))

    assert published.names == ("defocus_blur", "shot_noise")
    assert torch.equal(part.labels, LABELS)
    assert images[:, :, 0, 0].tolist() == [[value] * 3 for value in (115, 95, 135)]


def test_files_without_names_to_match_are_in_the_order_of_classes_and_names(imagenet_c):
    in_order = COLOUR._replace(labels=LABELS.sort().values)
    part = published_set(imagenet_c / "noise").part("shot_noise", 1, in_order)

    assert part.images(torch.arange(N))[:, 0, 0, 0].tolist() == [91, 121, 101, 111, 81, 131]


def test_files_may_be_in_another_format_than_those_of_test(imagenet_c):
    renamed = [file.replace(".JPEG", ".png") for file in FILES]
    part = published_set(imagenet_c).part("shot_noise", 1, IN_FILES._replace(files=renamed))

    assert torch.equal(part.labels, LABELS)


def test_grey_images_are_read_of_files_in_colour(imagenet_c):
    part = published_set(imagenet_c).part("shot_noise", 1, IN_FILES._replace(shape=(1, 8, 8)))

    assert part.images(torch.tensor([0])).shape == (1, 1, 8, 8)


@pytest.mark.parametrize("layout", EVERY)
def test_every_part_of_a_layout_has_images_as_test_has_them(request, layout):
    published, tested = opened(request, layout)

    for name in published.names:
        for severity in published.severities(name):
            images = published.part(name, severity, tested).images(torch.arange(N))
            assert images.dtype == torch.uint8
            assert images.shape == (N, *tested.shape)
            assert images.is_contiguous()


def test_arrays_are_mapped_and_not_read(cifar_c):
    part = published_set(cifar_c).part("fog", 2, COLOUR)

    assert isinstance(part.pixels, np.memmap)


@pytest.mark.parametrize("layout", EVERY)
@pytest.mark.parametrize(
    ("name", "severity", "message"),
    [("rain", 1, r"no rain in shift\.root=.*expected shift\.names of "), ("", 9, "at severity 9")],
)
def test_what_is_not_there_is_refused_with_what_is(request, layout, name, severity, message):
    published, tested = opened(request, layout)

    with pytest.raises(DataError, match=message):
        published.part(name or published.names[0], severity, tested)


@pytest.mark.parametrize("layout", EVERY)
def test_labels_of_another_split_are_refused(request, layout):
    published, tested = opened(request, layout)
    others = LABELS.clone()
    others[0] = 1

    with pytest.raises(DataError, match=r"1 of 6 differ: image 0 is n01484850 there and n0144"):
        published.part(published.names[0], 1, tested._replace(labels=others))


@pytest.mark.parametrize("layout", EVERY)
def test_another_number_of_images_is_refused(request, layout):
    published, tested = opened(request, layout)
    fewer = tested._replace(labels=LABELS[:5], files=tested.files[:5])

    with pytest.raises(DataError, match=r"expected 5 .*(got 6|got 30)"):
        published.part(published.names[0], 1, fewer)


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def as_text(file: Path) -> None:
    file.write_text("fog")


def as_float(file: Path) -> None:
    np.save(file, np.load(file) / 255)


def as_objects(file: Path) -> None:
    np.save(file, np.array([{}, {}], dtype=object), allow_pickle=True)


def as_larger_images(file: Path) -> None:
    np.save(file, pixels(5 * N, (9, 9, 3)))


@pytest.mark.parametrize("change", [damage, as_text, as_float, as_objects, as_larger_images])
def test_a_file_of_other_content_is_refused_by_its_name(cifar_c, change: Callable[[Path], None]):
    change(cifar_c / "fog.npy")

    with pytest.raises(DataError, match=r"fog\.npy") as refusal:
        published_set(cifar_c).part("fog", 1, COLOUR)
    assert "\n" not in str(refusal.value)


def test_labels_that_are_no_whole_numbers_are_refused(cifar_c):
    np.save(cifar_c / "labels.npy", np.zeros((5 * N, 3)))

    with pytest.raises(DataError, match=r"labels\.npy as a row of whole numbers, got float64"):
        published_set(cifar_c).part("fog", 1, COLOUR)


def test_labels_beyond_the_classes_are_shown_by_number(cifar_c):
    np.save(cifar_c / "labels.npy", np.full(5 * N, 77))

    with pytest.raises(DataError, match="6 of 6 differ: image 0 is of class 77 there"):
        published_set(cifar_c).part("fog", 1, COLOUR)


def test_a_missing_file_is_named_by_test_s_name(imagenet_c):
    missing = "n01440764/ILSVRC2012_val_00000001"
    (imagenet_c / "noise/shot_noise/2" / f"{missing}.JPEG").rename(
        imagenet_c / "noise/shot_noise/2/n01440764/other.JPEG"
    )

    with pytest.raises(DataError, match=f"1 of 6 are missing, such as {missing}"):
        published_set(imagenet_c).part("shot_noise", 2, IN_FILES)


def test_a_class_that_test_has_not_is_named(imagenet_c):
    other = IN_FILES._replace(classes=("n01440764", "n01443537", "cat"))

    with pytest.raises(DataError, match=r"classes of test in .*none of them is called n01484850"):
        published_set(imagenet_c).part("shot_noise", 2, other)


def test_a_damaged_image_is_named_when_it_is_read(imagenet_c):
    file = "n01440764/ILSVRC2012_val_00000001.JPEG"
    (imagenet_c / "noise/shot_noise/2" / file).write_bytes(b"no image")
    part = published_set(imagenet_c).part("shot_noise", 2, IN_FILES)

    with pytest.raises(DataError, match=file):
        part.images(torch.tensor([1]))


def test_a_corruption_in_two_folders_is_refused(imagenet_c):
    (imagenet_c / "blur" / "defocus_blur").rename(imagenet_c / "blur" / "shot_noise")

    with pytest.raises(DataError, match="expected one folder of each corruption"):
        published_set(imagenet_c)


def test_images_that_are_no_squares_cannot_be_read_from_files(imagenet_c):
    with pytest.raises(DataError, match=r"expected data\.size=N, got images of 8 x 9"):
        published_set(imagenet_c).part("shot_noise", 1, IN_FILES._replace(shape=(3, 8, 9)))


def test_a_folder_that_is_no_published_set_is_refused_with_a_way_out(cifar_c, mnist_c):
    with pytest.raises(DataError, match=r"expected a folder as shift\.root, got .*nowhere"):
        published_set(cifar_c / "nowhere")
    with pytest.raises(DataError, match=r"SEVERITY/CLASS/FILE\.JPEG.*try shift\.root=.*CIFAR-10-C"):
        published_set(cifar_c.parent)
    (cifar_c / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"but there is no labels\.npy"):
        published_set(cifar_c)
    for file in mnist_c.glob("*/test_images.npy"):
        file.unlink()
    with pytest.raises(DataError, match=r"no folder in it has a test_images\.npy"):
        published_set(mnist_c)


def test_an_empty_folder_is_no_published_set(tmp_path):
    with pytest.raises(DataError, match="got no folder"):
        published_set(tmp_path)
