"""Rare classes and few labels: exact class sizes, the same images each time, test unchanged."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from xent_bench.conditions.imbalance import class_sizes, imbalanced, order_of
from xent_bench.conditions.kept import kept_of_each_class
from xent_bench.conditions.train_fraction import with_fewer_images
from xent_bench.config.configure import ConfigError, check_top_level
from xent_bench.config.identity import run_key, science
from xent_bench.config.schema import Imbalance, ImbalanceKind, NaturalOrBalanced
from xent_bench.data.account import account
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import split
from xent_bench.failures import DataError
from xent_bench.runs.data_account import account_rows

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox")
EXPONENTIAL, STEP = ImbalanceKind.exponential, ImbalanceKind.step


def images(n: int = 6000, classes: tuple[str, ...] = CLASSES) -> ImageSet:
    """A balanced set in which every image is another."""
    pixels = torch.arange(n)[:, None] >> torch.tensor([0, 8])
    labels = torch.arange(n) % len(classes)
    return ImageSet((pixels % 256).byte().view(n, 2, 1, 1), labels, classes)


def sizes(data: ImageSet, ids: torch.Tensor) -> list[int]:
    return data.index[ids].bincount(minlength=len(data.classes)).tolist()


@pytest.mark.parametrize(
    ("kind", "ratio", "available", "expected"),
    [
        # CIFAR-10-LT as published: 12,406 images
        (EXPONENTIAL, 100, [5000] * 10, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        (EXPONENTIAL, 100, [500] * 3, [500, 50, 5]),
        (EXPONENTIAL, 4, [100] * 2, [100, 25]),
        (STEP, 100, [5000] * 10, [5000] * 5 + [50] * 5),
        (STEP, 10, [40] * 5, [40, 40, 40, 4, 4]),
        # what the rare classes have sets n: 8 x 100 = 800 would leave 8, and 899 / 100 is 8 too
        (EXPONENTIAL, 100, [5000, 5000, 8], [899, 89, 8]),
        (STEP, 10, [500, 30, 5, 9], [30, 30, 3, 3]),
    ],
)
def test_class_sizes_are_those_of_the_published_recipes(kind, ratio, available, expected):
    assert class_sizes(kind, ratio, available) == expected


def test_cifar_100_has_as_many_images_as_published():
    assert sum(class_sizes(EXPONENTIAL, 100, [500] * 100)) == 10_847


@pytest.mark.parametrize("ratio", [1.5, 3, 7.7, 50])
@pytest.mark.parametrize("kind", [EXPONENTIAL, STEP])
def test_every_class_has_enough_images_and_one_more_would_be_too_many(kind, ratio):
    available = [173, 180, 177, 150, 160, 170, 181, 166, 174]
    n = class_sizes(kind, ratio, available)[0]
    last = -(-len(available) // 2)  # of a step
    exponents = [k / 8 if kind is EXPONENTIAL else float(k >= last) for k in range(9)]

    def fits(n: int) -> bool:
        return all(int(n * ratio**-e) <= m for e, m in zip(exponents, available, strict=True))

    assert fits(n)
    assert not fits(n + 1)


def test_train_val_and_calib_shrink_alike_and_test_stays():
    data = images()
    before = split(data, seed=0)
    after = imbalanced(data, before, Imbalance(EXPONENTIAL, 10), seed=0)

    # 6,000 images: 1,200 test, 720 val and calib, 3,360 train, of six classes
    assert sizes(data, before.train) == [560] * 6
    assert sizes(data, after.train) == [560, 353, 222, 140, 88, 56]
    assert sizes(data, before.val) == [120] * 6
    assert sizes(data, after.val) == sizes(data, after.calib) == [120, 76, 48, 30, 19, 12]
    assert torch.equal(after.test, before.test)
    for kept, ids in zip(after, before, strict=True):
        assert torch.isin(kept, ids).all()
        assert torch.equal(kept, kept.unique())


def test_val_and_calib_stay_as_they_are_where_they_are_to_be_balanced():
    data = images()
    before = split(data, seed=0)
    imbalance = Imbalance(STEP, 20, val=NaturalOrBalanced.balanced)
    after = imbalanced(data, before, imbalance, seed=0)

    assert sizes(data, after.train) == [560] * 3 + [28] * 3
    assert torch.equal(after.val, before.val)
    assert torch.equal(after.calib, before.calib)


def test_the_images_of_a_higher_ratio_are_among_those_of_a_lower_one():
    data = images()
    splits = split(data, seed=3)
    at = [imbalanced(data, splits, Imbalance(EXPONENTIAL, r), seed=3) for r in (2, 10, 100)]

    for more, fewer in pairwise(at):
        assert all(torch.isin(fewer[part], more[part]).all() for part in range(4))


def test_whether_an_image_stays_depends_on_its_id_and_not_on_which_others_there_are():
    data, ids = images(), torch.arange(600)
    wanted = torch.full((6,), 20)
    kept = kept_of_each_class(data, ids, wanted, seed=0, purpose="test")
    among_half = kept_of_each_class(data, ids[::2], wanted, seed=0, purpose="test")

    assert sizes(data, kept) == [20] * 6
    assert torch.isin(kept[kept % 2 == 0], among_half).all()


def test_another_seed_leaves_out_other_images_and_the_key_fixes_them():
    data = images()
    splits = split(data, seed=0)

    def kept(seed: int, own: int | None = None) -> torch.Tensor:
        return imbalanced(data, splits, Imbalance(STEP, 10, seed=own), seed=seed).train

    assert not torch.equal(kept(0), kept(1))
    assert torch.equal(kept(0, own=7), kept(1, own=7))


@pytest.mark.parametrize("order", [["fox", "elk", "dog", "cat", "bee", "ant"], [5, 4, 3, 2, 1, 0]])
def test_the_order_says_which_classes_are_rare(order):
    data = images()
    splits = imbalanced(data, split(data, 0), Imbalance(EXPONENTIAL, 10, order=order), seed=0)

    assert sizes(data, splits.train) == [56, 88, 140, 222, 353, 560]


def test_a_number_that_is_the_name_of_a_class_means_that_class():
    assert order_of([3, 1, 2], ("1", "2", "3")) == [2, 0, 1]


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        (["ant"], "expected all 6 classes of the data, got none of bee, cat, dog, elk, fox"),
        ([0, 1, 2, 3, 4, 4], "expected each class once, got elk twice"),
        ([0, 1, 2, 3, 4, 6], "expected names of classes, or numbers from 0 to 5, got 6"),
        (["ant", "bea"], "got 'bea'; did you mean bee?"),
        ("ant", "expected a list of classes, got 'ant'"),
        (True, "expected a list of classes, got True"),
    ],
)
def test_an_order_that_is_not_of_the_classes_is_refused(order, complaint):
    with pytest.raises(ConfigError, match=rf"^imbalance\.order: .*{complaint}".replace("?", r"\?")):
        order_of(order, CLASSES)


def test_a_ratio_at_which_a_class_would_vanish_is_refused_with_one_that_is_possible():
    data = images(600)
    splits = split(data, seed=0)
    assert sizes(data, splits.train) == [56] * 6

    with pytest.raises(
        ConfigError,
        match=r"got 57, at which class fox keeps none of its 56 images; imbalance.ratio=56 is",
    ):
        imbalanced(data, splits, Imbalance(EXPONENTIAL, 57), seed=0)
    possible = imbalanced(data, splits, Imbalance(EXPONENTIAL, 56), seed=0)
    assert sizes(data, possible.train)[-1] == 1


def test_a_class_without_an_image_in_train_is_named():
    data = replace(images(600), classes=(*CLASSES, "gnu"))

    with pytest.raises(DataError, match="image of every class in train, got none of gnu"):
        imbalanced(data, split(data, seed=0), Imbalance(STEP, 2), seed=0)


def test_an_image_with_a_soft_label_counts_for_its_likeliest_class():
    hard = images()
    q = 0.9 * torch.eye(6)[hard.labels] + 0.1 / 6
    soft = replace(hard, labels=q)
    splits = split(hard, seed=0)

    for one, other in zip(
        imbalanced(hard, splits, Imbalance(STEP, 10), seed=0),
        imbalanced(soft, splits, Imbalance(STEP, 10), seed=0),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_no_group_of_images_comes_into_two_splits():
    data = replace(images(), groups=torch.arange(6000) // 12)
    splits = imbalanced(data, split(data, seed=0), Imbalance(EXPONENTIAL, 10), seed=0)

    groups = [set(data.groups[ids].tolist()) for ids in splits]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_a_share_of_train_is_stratified_and_within_a_larger_share():
    data = images()
    before = split(data, seed=0)
    tenth, fifth, whole = (with_fewer_images(data, before, f, seed=0) for f in (0.1, 0.2, 1.0))

    assert sizes(data, tenth.train) == [56] * 6
    assert sizes(data, fifth.train) == [112] * 6
    assert torch.isin(tenth.train, fifth.train).all()
    assert torch.equal(whole.train, before.train)
    for after in (tenth, fifth, whole):
        assert all(map(torch.equal, after[1:], before[1:]))
    assert not torch.equal(tenth.train, with_fewer_images(data, before, 0.1, seed=1).train)


def test_every_class_keeps_an_image_of_the_smallest_share():
    data = images(600)

    assert sizes(data, with_fewer_images(data, split(data, 0), 1e-6, seed=0).train) == [1] * 6


def test_images_that_are_left_out_are_counted_and_are_no_copies_of_others():
    data = images(600)
    pixels = data.images.clone()
    before = split(data, seed=0)
    after = imbalanced(data, before, Imbalance(STEP, 56), seed=0)
    dropped = before.train[~torch.isin(before.train, after.train)]
    pixels[dropped] = pixels[before.test[0]].clone()  # of which all are copies of one image of test
    facts = account(replace(data, images=pixels), after)

    assert (facts.leaks, facts.repeated, facts.conflicts) == ({}, 0, 0)
    assert facts.splits["train"] == 3 * 56 + 3
    left_out = 600 - sum(facts.splits.values())
    assert dict(account_rows("images", facts))["in no split"].startswith(f"{left_out} images")


def test_without_an_effect_the_keys_change_nothing_in_the_name_of_a_run(config):
    plain = config()

    for words in (["imbalance=exponential", "imbalance.ratio=1"], ["train_fraction=1"]):
        assert run_key(config(*words)) == run_key(plain)
    assert run_key(config("imbalance=step")) != run_key(config("imbalance=exponential"))
    assert science(config("train_fraction=0.5"))["train_fraction"] == 0.5


@pytest.mark.parametrize("word", ["imbalance.ratio=0.5", "train_fraction=0", "train_fraction=1.1"])
def test_values_out_of_their_range_are_refused(config, word):
    with pytest.raises(ValueError, match=word.partition("=")[0].rpartition(".")[2]):
        check_top_level(config("imbalance=step", word))
