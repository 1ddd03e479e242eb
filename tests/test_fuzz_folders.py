"""Folders of random files: each is read, or refused in one line."""

import io
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from xent_bench.data.account import account
from xent_bench.data.decoding import READABLE
from xent_bench.data.image_folder import image_folder
from xent_bench.data.imagenet import imagenet
from xent_bench.data.split import split
from xent_bench.failures import DataError

EXAMPLES = int(os.environ.get("XENT_BENCH_FUZZ", "100"))
OUTCOMES: Counter[str] = Counter()


def encoded(kind: str) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (11, 13, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    turned = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
    Image.fromarray(pixels).save(content, kind, **turned)
    return content.getvalue()


IMAGES = {kind: encoded(kind) for kind in READABLE}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An image that is cut off, or some bytes of which are others."""
    content = bytearray(IMAGES[draw(st.sampled_from(READABLE))])
    if draw(st.booleans()):
        return bytes(content[: draw(st.integers(0, len(content)))])
    for _ in range(draw(st.integers(1, 8))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


WHOLE = st.sampled_from([*IMAGES.values()])
CONTENT = st.one_of(
    WHOLE,
    WHOLE,
    WHOLE,
    damaged(),
    st.binary(max_size=40),
    st.sampled_from([b"%!PS-Adobe-3.0\n", b"<html>", b"GIF89a", b"P6 9 9 255 ", b"P6 -1 9 255 "]),
)
SPLIT = st.sampled_from(["train", "train", "train", "test", "val", "Train", "", ".git", "x"])
CLASS = st.sampled_from(
    ["cat", "dog", "dog", "cow", "é", "e\u0301", ".trash", "a\nb", " ", "\udcff", "test"]
)
NAME = st.one_of(
    st.sampled_from([f"{stem}.png" for stem in "abcdef"]),
    st.sampled_from(
        ["._a.png", "Thumbs.db", "x", ".png", "y.txt", "z.heic", "\udcfe.jpg", "n\n.gif"]
    ),
)
# a folder, a link to itself, and a pipe that nobody writes to
ODD = st.sampled_from(["folder", "loop", "pipe"])
FILE = st.tuples(SPLIT, CLASS, NAME, st.one_of(CONTENT, CONTENT, CONTENT, ODD))
PLAIN = st.tuples(st.just("train"), st.sampled_from(["cat", "dog"]), NAME, WHOLE)
TREE = st.one_of(
    st.lists(FILE, max_size=12),
    st.lists(PLAIN, min_size=6, max_size=14),
    st.tuples(st.lists(PLAIN, min_size=6, max_size=14), st.lists(FILE, max_size=2)).map(
        lambda parts: parts[0] + parts[1]
    ),
)


def write(root: Path, tree: list[tuple[str, str, str, bytes | str]]) -> None:
    """Write the files, except those whose place is taken."""
    for part, label, name, content in tree:
        file = root / part / label / name
        if os.path.lexists(file) or not all(p.is_dir() for p in file.parents if p.exists()):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        if content == "folder":
            file.mkdir()
        elif content == "loop":
            file.symlink_to(name)
        elif content == "pipe":
            os.mkfifo(file)
        else:
            file.write_bytes(content)


def outcome(root: Path, load) -> str:
    """Read the set as a run does, up to its splits, its account and one pass over all images."""
    try:
        data = load(root=str(root), size=8)
        data.check_files()
        splits = split(data, seed=0)
    except DataError as refusal:
        text = str(refusal)
        assert "\n" not in text, text
        text.encode()
        return "refused"
    facts = account(data, splits)
    assert sum(facts.splits.values()) == len(data.images)
    repr(facts).encode()
    data.images.decode([(number, None) for number in range(len(data.images))])
    data.images.decode(
        [(number, (0.5, 0.9, 0.999, 0.0, 0.4)) for number in range(len(data.images))]
    )
    return "read"


@pytest.fixture(scope="module", autouse=True)
def outcomes_are_printed() -> Iterator[None]:
    yield
    print(f"\n{EXAMPLES} folders: {dict(OUTCOMES)}")


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(TREE, st.sampled_from([image_folder, image_folder, image_folder, imagenet]))
def test_any_folder_is_read_or_refused_in_one_line(tree, load):
    root = Path(tempfile.mkdtemp())
    try:
        write(root, tree)
        OUTCOMES[outcome(root, load)] += 1
    finally:
        shutil.rmtree(root)
