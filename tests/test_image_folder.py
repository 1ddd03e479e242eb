"""Folders of one's own images: which files are read, what is left out, and which are refused."""

import io
import itertools
import os
import unicodedata
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from xent_bench.config.configure import ConfigError
from xent_bench.config.explain import exit_code
from xent_bench.config.identity import run_folder
from xent_bench.data import decoding
from xent_bench.data.decoding import FORMATS, READABLE, readable_formats
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_folder import image_folder
from xent_bench.data.imagenet import imagenet
from xent_bench.failures import DataError
from xent_bench.training.run import run


def encoded(kind: str = "PNG", size: tuple[int, int] = (9, 7), **options: object) -> bytes:
    content = io.BytesIO()
    grey = np.linspace(40, 200, size[0]).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(grey[None, :, None], (size[1], size[0], 3)).copy())
    image.save(content, kind, **options)
    return content.getvalue()


PNG = encoded()


def write(root: Path, *names: str, content: bytes = PNG) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def names(root: Path) -> list[str]:
    data = image_folder(root=str(root), size=8)
    return [data.name_of(number) for number in range(len(data.images))]


def left_out(root: Path) -> dict[str, int]:
    return image_folder(root=str(root), size=8).listing.left_out


def two_classes(root: Path) -> Path:
    return write(root, "train/cat/a.png", "train/dog/a.png")


@pytest.mark.parametrize(
    ("kind", "ending"), [(name, e) for name in READABLE for e in FORMATS[name]]
)
def test_each_promised_format_is_read_by_each_of_its_endings_in_any_case(tmp_path, kind, ending):
    two_classes(tmp_path)
    write(tmp_path, f"train/cat/b{ending.upper()}", content=encoded(kind))
    data = image_folder(root=str(tmp_path), size=8)
    data.check_files()

    assert len(data.images) == 3
    assert left_out(tmp_path) == {}
    shades = data.images.decode([(1, None)])[0, :, :, 0].mean(axis=0)
    assert (np.diff(shades) > 0).all()


def test_the_first_picture_of_an_animation_is_read(tmp_path):
    content = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), (shade,) * 3) for shade in (10, 250)]
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    (tmp_path / "a.gif").write_bytes(content.getvalue())

    assert (ImageFiles.of(tmp_path, ["a.gif"], 8).decode([(0, None)]) == 10).all()


def test_a_pillow_without_a_library_reads_the_other_formats(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding.features, "check", lambda name: name != "avif")
    assert set(FORMATS) - set(readable_formats()) == {"AVIF"}
    two_classes(tmp_path)
    write(tmp_path, "train/cat/b.avif")
    monkeypatch.setattr("xent_bench.data.class_folders.ENDINGS", (".png",))
    monkeypatch.setattr("xent_bench.data.class_folders.UNREADABLE", {".avif"})

    assert left_out(tmp_path) == {"image that this Pillow cannot read (.avif)": 1}


def test_what_is_no_image_is_counted_by_its_ending(tmp_path):
    two_classes(tmp_path)
    write(tmp_path, "train/cat/a.txt", "train/dog/b.TXT", "train/dog/c.heic", "train/dog/README")

    assert left_out(tmp_path) == {"no image (.txt)": 2, "no image (.heic)": 1, "no image": 1}
    write(tmp_path, *(f"train/cat/scan.{number:03}" for number in range(100)))
    assert len(left_out(tmp_path)) <= 8
    assert sum(left_out(tmp_path).values()) == 104


HIDDEN = (
    "train/.ipynb_checkpoints/0.png",
    "train/.trash/0.png",
    "train/__MACOSX/0.png",
    "train/cat/._a.png",
    "train/cat/.DS_Store",
    "train/cat/Thumbs.db",
    "train/dog/desktop.ini",
    "train/dog/@eaDir/a.png",
    "test/lost+found/a.png",
)


def test_hidden_files_and_folders_are_no_images_and_no_classes(tmp_path):
    two_classes(tmp_path)
    write(tmp_path, "test/cat/a.png", *HIDDEN)

    assert image_folder(root=str(tmp_path)).classes == ("cat", "dog")
    assert names(tmp_path) == ["train/cat/a.png", "train/dog/a.png", "test/cat/a.png"]
    assert left_out(tmp_path) == {"hidden": len(HIDDEN)}


def test_images_beside_and_below_the_classes_are_counted(tmp_path):
    two_classes(tmp_path)
    write(tmp_path, "train/stray.png", "train/cat/more/b.png", "train/cat/more/deep/c.png")
    (tmp_path / "train/dog/loop").symlink_to(tmp_path / "train")

    assert names(tmp_path) == ["train/cat/a.png", "train/dog/a.png"]
    expected = {"image beside the class folders": 1, "image in a folder within a class": 2}
    assert left_out(tmp_path) == expected


def test_a_class_with_images_in_folders_only_is_refused(tmp_path):
    write(tmp_path, "train/cat/more/b.png", "train/cat/c.txt", "train/dog/a.png")

    with pytest.raises(DataError, match="the 1 in folders within it are not read"):
        image_folder(root=str(tmp_path))


@pytest.mark.parametrize(
    ("tests", "expected", "unread"),
    [
        ((), None, ("labels",)),
        (("val",), "val", ("labels",)),
        (("test",), "test", ("labels",)),
        (("test", "val"), "test", ("labels",)),
        (("valid",), "valid", ("labels",)),
        (("val", "valid"), "val", ("labels", "valid")),
        (("TESTING", "Validation"), "TESTING", ("labels",)),
        (("eval",), None, ("eval", "labels")),
    ],
)
def test_the_folder_that_is_the_test_split_is_named_and_those_that_are_not_read(
    tmp_path, tests, expected, unread
):
    two_classes(tmp_path)
    write(tmp_path, "labels/a.csv", ".git/a", *(f"{name}/cat/t.png" for name in tests))
    listing = image_folder(root=str(tmp_path)).listing

    assert (listing.folder, listing.test_folder) == (str(tmp_path), expected)
    assert listing.unread == unread


def test_classes_without_train_are_the_common_layout(tmp_path):
    write(tmp_path, *(f"{name}/{n}.jpg" for name in ("b", "a") for n in range(5)))
    write(tmp_path, "README.md", "a/x.txt", ".cache/x.jpg", "poster.png")
    data = image_folder(root=str(tmp_path), size=8)

    assert data.classes == ("a", "b")
    assert data.test is data.listing.test_folder is None
    assert names(tmp_path)[::5] == ["a/0.jpg", "b/0.jpg"]
    expected = {"hidden": 1, "image beside the class folders": 1, "no image (.txt)": 1}
    assert data.listing.left_out == expected


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ("", "no folder .*/train, and it has no folder"),
        ("a.png", "it has no folder"),
        ("cat/a.png", "its only folder is cat/, and a set has two classes"),
        ("test/cat/a.png val/cat/b.png", "it has test/, val/; train/ is missing"),
        ("cat/a.png dog/a.png test/a.png", "it has cat/, dog/, test/; a class called test has"),
        ("a/train/a/a.png b/train/b/a.png", "a/, b/, without images; data.root may"),
        ("train/pets/cat/a.png train/pets/dog/a.png", "the 2 in folders within it .* data=table"),
        ("train/a.png test/a.png", "found no folder, and 1 images that are in no class"),
        ("train/a.png bus/a.png", "found no folder, and 1 images that are in no class"),
        ("cat/a.png a\x07b/a.png", r"in UTF-8, without control characters, .* got a\\x07b"),
        ("cat/a.png dog/a.txt", "expected images in .*/dog, found none"),
        ("train/cat/a.png", "expected at least two classes, got 1"),
        ("train/cat/a.png train/dog/b.png test/a.png", "each class in .*/test, found no folder"),
        ("train/cat/a.png train/dog/b.png test/Cat/a.png", r"train \(cat, dog\) in .* called Cat"),
    ],
)
def test_a_layout_that_can_be_misread_is_refused_and_what_it_has_is_said(
    tmp_path, files, complaint
):
    write(tmp_path, *files.split())

    with pytest.raises(DataError, match=complaint) as refusal:
        image_folder(root=str(tmp_path))
    assert "\n" not in str(refusal.value)


def test_the_same_name_in_two_spellings_of_unicode_is_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    write(tmp_path, "train/tea/a.png", f"train/{composed}/a.png", f"test/{decomposed}/a.png")
    data = image_folder(root=str(tmp_path))

    assert data.classes == (composed, "tea")
    assert data.labels.tolist() == [0, 1, 0]
    assert (tmp_path / os.fsdecode(data.images.names[2])).exists()
    write(tmp_path, f"train/{decomposed}/a.png")
    with pytest.raises(DataError, match=r"two folders are called café.*\(NFC and NFD\)"):
        image_folder(root=str(tmp_path))


def test_names_of_files_need_no_encoding(tmp_path):
    write(tmp_path, "train/cat/ü\n.png", "train/dog/a.png")
    (tmp_path / "train" / "cat" / os.fsdecode(b"\xff.png")).write_bytes(b"no image")
    data = image_folder(root=str(tmp_path), size=8)

    assert names(tmp_path)[:2] == ["train/cat/ü\\n.png", "train/cat/\\xff.png"]
    assert data.images.decode([(0, None)]).shape == (1, 8, 8, 3)
    with pytest.raises(DataError, match=r"1 of 3 images.*cat/\\xff.png: it is no JPEG, PNG"):
        data.check_files()


@pytest.mark.parametrize("load", [image_folder, imagenet])
@pytest.mark.parametrize("root", ["", "\0", "x" * 5000, "~nobody/x", "/dev/null", "/proc/1/mem/x"])
def test_a_root_that_is_no_folder_is_refused_in_one_line(tmp_path, monkeypatch, root, load):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as refusal:
        load(root=root)

    assert "\n" not in str(refusal.value)
    assert "\0" not in str(refusal.value)


def test_a_link_to_itself_is_no_image_and_no_folder(tmp_path):
    two_classes(tmp_path)
    for name in ("loop", "cat/loop.txt"):
        (tmp_path / "train" / name).symlink_to(Path(name).name)
    assert left_out(tmp_path) == {"broken link": 1, "no image (.txt)": 1}
    (tmp_path / "train/cat/loop.png").symlink_to("loop.png")

    with pytest.raises(DataError, match=r"expected an image, .*loop.png is no file"):
        image_folder(root=str(tmp_path))


def lying(upright: Image.Image, orientation: int) -> Image.Image:
    """The image as a camera stores it that writes this orientation."""
    back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    return upright if back is None else upright.transpose(back)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright_before_it_is_cropped(tmp_path, orientation, kind):
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.linspace(0, 255, 64), np.linspace(0, 255, 40)[:, None]
    upright = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[274] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    lying(upright, orientation).save(tmp_path / "lying", kind, exif=exif, **lossless)
    upright.save(tmp_path / "upright", kind, **lossless)
    with Image.open(tmp_path / "lying") as image:  # Pillow agrees on what is upright
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(image)), pixels)
    files = ImageFiles.of(tmp_path, ["upright", "lying"], 16)

    draws = itertools.product((0.0, 0.4, 1.0), (0.0, 1.0), (0.1,), (0.9,), (0.2, 0.8))
    for draw in (None, *draws):
        expected, got = files.decode([(0, draw), (1, draw)]).astype(int)
        assert np.abs(expected - got).max() <= 1  # rows are resized before columns, rounded twice


def test_a_set_with_a_lying_photograph_has_another_hash_than_when_it_was_left_lying(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    hashes = []
    for content in (encoded("JPEG"), encoded("JPEG", exif=exif)):
        write(tmp_path, "a.jpg", content=content)
        before = sha256(b"a.jpg" + sha256(content).digest()).hexdigest()
        hashes.append(ImageFiles.of(tmp_path, ["a.jpg"], 8).sha256() == before)

    assert hashes == [True, False]


@pytest.mark.parametrize("value", [0, 9])
def test_an_orientation_that_is_none_leaves_the_image_as_it_is(tmp_path, value):
    exif = Image.Exif()
    exif[274] = value
    write(tmp_path, "a.png", content=encoded("PNG", exif=exif))
    write(tmp_path, "b.png")
    straight, other = ImageFiles.of(tmp_path, ["a.png", "b.png"], 8).decode([(0, None), (1, None)])

    assert np.array_equal(straight, other)


def test_damaged_exif_data_does_not_cost_the_image(tmp_path):
    write(tmp_path, "a.jpg", content=encoded("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" * 3))
    write(tmp_path, "b.jpg", content=encoded("JPEG", exif=b"Exif\0\0nonsense"))
    files = ImageFiles.of(tmp_path, ["a.jpg", "b.jpg"], 8)
    files.check()

    assert len(files.decode([(0, None), (1, None)])) == 2


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels."""
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return PNG[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + PNG[33:]


BAD = {
    "empty.png": (b"", "it is no JPEG, PNG"),
    "page.jpg": (b"<!DOCTYPE html><html></html>", "it is no JPEG, PNG"),
    "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is no JPEG"),
    "cut.jpg": (encoded("JPEG", (400, 300))[:1500], "truncated"),
    "cut.png": (encoded("PNG", (400, 300))[:700], "truncated|broken"),
    "cut.gif": (encoded("GIF", (400, 300))[:1000], ""),
    "cut.webp": (encoded("WEBP", (400, 300))[:60], ""),
    "sixteen.tif": (b"", "expected 8 bits a channel, got mode I;16"),
    "bomb.png": (png_of(60_000, 60_000), "decompression bomb"),
    "tga.png": (bytes([0, 0, 2, *[0] * 9, 2, 0, 2, 0, 24, 0, *range(12)]), "it is no JPEG"),
    "fits.png": (b"SIMPLE  =                    T" + b" " * 3000, "it is no JPEG"),
}


def write_bad(root: Path, name: str) -> None:
    write(root, name, content=BAD[name.rpartition("/")[2]][0])
    if name.endswith("sixteen.tif"):
        Image.fromarray(np.full((9, 9), 39_900, np.uint16)).save(root / name)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_refused_before_training_with_the_reason(tmp_path, name):
    two_classes(tmp_path)
    write_bad(tmp_path, f"train/dog/{name}")
    data = image_folder(root=str(tmp_path), size=8)

    expected = (
        rf"cannot read 1 of 3 images.* deleted: {tmp_path}/train/dog/{name}: .*{BAD[name][1]}"
    )
    with pytest.raises(DataError, match=expected) as refusal:
        data.check_files()
    assert "\n" not in str(refusal.value)
    with pytest.raises(DataError, match="cannot read"):
        data.images.decode([(1 if name < "a" else 2, None), (1, None)])


def as_mode(mode: str, **options: object) -> bytes:
    content = io.BytesIO()
    kind = "JPEG" if mode == "CMYK" else "PNG"
    Image.new("RGB", (9, 7), (200, 90, 30)).convert(mode).save(content, kind, **options)
    return content.getvalue()


GOOD = {
    "cmyk.jpg": as_mode("CMYK"),
    "palette.png": as_mode("P", transparency=bytes(range(256))),
    "one_colour.png": as_mode("P", transparency=0),
    "alpha.png": as_mode("RGBA"),
    "grey_alpha.png": as_mode("LA"),
    "bits.png": as_mode("1"),
    "one.png": encoded(size=(1, 1)),
    "long.png": encoded(size=(65_000, 1)),
    "misnamed.jpg": PNG,
    "phone.jpg": encoded("MPO"),
    "trailing.jpg": encoded("JPEG") + b"\0" * 500,
}


@pytest.mark.parametrize("name", GOOD)
def test_an_image_of_any_mode_and_shape_is_read(tmp_path, name):
    write(tmp_path, name, content=GOOD[name])
    files = ImageFiles.of(tmp_path, [name], 8)
    files.check()

    for draw in (None, (0.5, 1.0, 0.999, 0.999, 0.1)):
        assert files.decode([(0, draw)]).shape == (1, 8, 8, 3)


def test_all_bad_images_are_counted_and_three_are_named(tmp_path):
    two_classes(tmp_path)
    for number in range(9):
        write(tmp_path, f"train/cat/b{number}.png", content=b"no image")
    data = image_folder(root=str(tmp_path), size=8)

    with pytest.raises(DataError, match=r"9 of 11 images.*b0.png.*b1.png.*b2.png.*; and 6 more$"):
        data.check_files()
    for number in range(9):
        write(tmp_path, f"train/cat/b{number}.png")
    image_folder(root=str(tmp_path), size=8).check_files()


def small_folder(root: Path, n: int = 20) -> Path:
    for name, number in itertools.product(("cat", "dog"), range(n)):
        write(root, f"train/{name}/{number}.png", content=encoded(size=(9, 7 + number)))
    return write(root, "test/cat/t.png", "test/dog/t.png", content=encoded(size=(6, 6)))


BASE = ("data=image_folder", "data.size=8", "model=linear", "loss=ce", "machine.workers=0")


def test_a_bad_image_of_test_ends_a_run_before_it_begins(config, tmp_path):
    """The folder's images were read before the last epoch ended; exit code 3, nothing is left."""
    root = small_folder(tmp_path / "images")
    write(root, "test/dog/u.png", content=b"")
    wanted = config(f"data.root={root}", "batch_size=8", base=(*BASE, "epochs=1"))

    with pytest.raises(DataError, match=r"1 of 43 images.*test/dog/u.png") as refusal:
        run(wanted)
    assert exit_code(refusal.value) == 3
    assert not run_folder(wanted).exists()


def test_a_batch_larger_than_a_small_train_split_is_refused_with_a_size_that_works(
    config, tmp_path
):
    root = small_folder(tmp_path / "images")
    base = (*BASE, f"data.root={root}", "epochs=1")

    sizes = r"at most the 28 images of train \(of 42 images.*got 64: batch_size=4 gives 7 steps"
    with pytest.raises(ConfigError, match=sizes):
        run(config(base=base))
    assert run(config("batch_size=4", base=base))["n_test"] == 2


def test_a_test_split_that_is_all_of_the_images_is_refused():
    from xent_bench.data.image_set import ImageSet
    from xent_bench.data.split import split

    images, labels = torch.zeros(8, 1, 4, 4).byte(), torch.arange(8) % 2
    data = ImageSet(images, labels, ("a", "b"), test=torch.arange(8))

    with pytest.raises(DataError, match="four splits, got 8, 8 of them in the test split"):
        split(data, seed=0)
