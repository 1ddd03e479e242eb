"""The account of a run's images: counts, and copies where there should be none."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xent_bench.data.account import account
from xent_bench.data.digits import digits
from xent_bench.data.image_folder import image_folder
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits, split


def different(n: int) -> torch.Tensor:
    """Images without a copy: each holds its number."""
    images = torch.zeros(n, 1, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = torch.arange(n) % 256, torch.arange(n) // 256
    return images


SPLITS = Splits(torch.arange(6), torch.tensor([6]), torch.tensor([7]), torch.arange(8, 10))


def of_ten(images: torch.Tensor, labels: torch.Tensor | None = None) -> ImageSet:
    labels = torch.arange(10) % 2 if labels is None else labels
    return ImageSet(images, labels, ("even", "odd"), test=torch.arange(8, 10))


def test_digits_are_accounted_for():
    data = digits()
    facts = account(data, split(data, seed=0))

    assert facts.images == sum(facts.splits.values()) == 1797
    assert list(facts.splits) == ["train", "val", "calib", "test"]
    assert (facts.classes, facts.shape, facts.test) == (10, (1, 8, 8), "drawn")
    assert facts.smallest_count == data.index[split(data, 0).train].bincount().min()
    assert facts.crop is facts.folder is facts.test_folder is None
    assert facts.absent == facts.left_out == facts.leaks == {}
    assert facts.repeated == facts.conflicts == 0
    assert json.loads(json.dumps(asdict(facts)))["splits"] == facts.splits


def test_a_set_without_copies_has_none():
    facts = account(of_ten(different(10)), SPLITS)

    assert (facts.leaks, facts.repeated, facts.conflicts) == ({}, 0, 0)
    assert facts.leak_examples == facts.conflict_examples == ()


def test_a_copy_is_counted_in_the_later_split_and_named():
    images = different(10)
    images[8] = images[7] = images[1]
    images[9] = images[2]
    labels = torch.tensor([0, 1, 1, 0, 0, 1, 0, 1, 1, 1])
    facts = account(of_ten(images, labels), SPLITS)

    assert facts.leaks == {"calib": 1, "test": 2}
    pairs = {("image 1", "image 8"), ("image 2", "image 9")}
    assert set(facts.leak_examples[:2]) == pairs
    assert facts.leak_examples[2] == ("image 1", "image 7")
    assert facts.repeated == facts.conflicts == 0


def test_copies_within_train_are_counted_and_copies_within_test_are_no_leak():
    images = different(10)
    images[2] = images[4] = images[0]
    images[9] = images[8]
    facts = account(of_ten(images, torch.tensor([0, 0, 0, 1, 0, 1, 1, 1, 1, 1])), SPLITS)

    assert (facts.leaks, facts.repeated, facts.conflicts) == ({}, 2, 0)


def test_copies_with_other_labels_are_a_conflict():
    images = different(10)
    images[3] = images[2] = images[0]  # labels 0, 0, 1
    facts = account(of_ten(images), SPLITS)

    assert facts.conflicts == 3
    assert facts.conflict_examples == (("image 0", "image 3"),)


def test_soft_labels_of_copies_may_differ():
    images = different(10)
    images[1] = images[0]
    labels = torch.rand(10, 1, dtype=torch.float64)
    facts = account(of_ten(images, torch.cat((labels, 1 - labels), dim=1)), SPLITS)

    assert (facts.repeated, facts.conflicts) == (1, 0)


def test_classes_that_a_split_lacks_are_counted():
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 0, 1, 0, 0])
    facts = account(of_ten(different(10), labels), SPLITS)

    assert (facts.smallest_class, facts.smallest_count) == ("odd", 1)
    assert facts.absent == {"val": 1, "calib": 1, "test": 1}


def test_a_file_that_is_in_train_and_in_test_is_named(tmp_path: Path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for part, n in (("train", 10), ("val", 2)):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(n):
                pixels = rng.integers(0, 256, (9, 9, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.png")
    copy = tmp_path / "val" / "dog" / "0.png"
    copy.write_bytes((tmp_path / "train" / "dog" / "5.png").read_bytes())
    data = image_folder(root=str(tmp_path), size=8)
    facts = account(data, split(data, seed=0))

    assert facts.leaks == {"test": 1}
    assert facts.leak_examples == (("train/dog/5.png", "val/dog/0.png"),)
    assert (facts.test, facts.test_folder, facts.folder) == ("official", "val", str(tmp_path))
    assert "central square" in facts.crop


@pytest.mark.parametrize("labels", [torch.arange(70_000) % 10])
def test_as_many_images_as_fashion_mnist_take_less_than_a_second(labels):
    images = torch.randint(0, 256, (70_000, 1, 28, 28), dtype=torch.uint8)
    data = ImageSet(images, labels, tuple("0123456789"))
    splits = split(data, seed=0)
    begun = time.process_time()
    facts = account(data, splits)

    assert time.process_time() - begun < 1
    assert facts.leaks == {}


def test_images_that_are_changed_have_a_hash_and_copies_of_their_own():
    images = torch.arange(12, dtype=torch.uint8).reshape(3, 1, 2, 2)
    data = ImageSet(images, torch.tensor([0, 1, 0]), ("a", "b"))
    keys = data.content_keys
    changed = replace(data, images=images[[0, 0, 2]])

    assert data.content_keys is keys  # computed once
    assert changed.sha256() != data.sha256()
    assert len(set(keys.tolist())) == 3
    assert len(set(changed.content_keys.tolist())) == 2
