"""Groups that never cross splits, official val splits, and weights of training examples."""

from dataclasses import replace

import pytest
import torch

from xent_bench.data.augment import Augmentation
from xent_bench.data.batches import Normalisation, ShuffledBatches
from xent_bench.data.groups import Groups
from xent_bench.data.image_set import ImageSet
from xent_bench.data.mixing import Mixing
from xent_bench.data.resident import Resident
from xent_bench.data.split import split
from xent_bench.failures import DataError
from xent_bench.randomness import generator
from xent_bench.training.classifier import Classifier


def image_set(n: int = 1000, c: int = 4, **fields: object) -> ImageSet:
    rng = generator(0, "set of the test")
    images = torch.randint(0, 256, (n, 1, 2, 2), dtype=torch.uint8, generator=rng)
    labels = torch.randint(0, c, (n,), generator=rng)
    return ImageSet(images, labels, tuple(f"class {i}" for i in range(c)), **fields)


GROUPS = torch.randint(0, 150, (1000,), generator=generator(0, "groups of the test"))


@pytest.mark.parametrize("seed", range(3))
def test_a_group_is_within_one_split_and_sizes_and_classes_are_about_as_wanted(seed):
    data = image_set(groups=GROUPS)
    splits = split(data, seed)

    assert torch.equal(torch.cat(splits).sort().values, torch.arange(1000))
    in_splits = [set(GROUPS[ids].tolist()) for ids in splits]
    assert sum(map(len, in_splits)) == len(set.union(*in_splits)) == len(GROUPS.unique())
    for ids, wanted in zip(splits, (560, 120, 120, 200), strict=True):
        assert abs(len(ids) - wanted) <= 12
        shares = data.index[ids].bincount(minlength=4) / len(ids)
        assert (shares - data.index.bincount() / 1000).abs().max() < 0.05
    assert torch.equal(splits.test, split(data, seed + 10).test)
    assert not torch.equal(splits.val, split(data, seed + 10).val)


def test_four_groups_are_four_splits_and_three_are_refused():
    data = image_set(40, groups=torch.arange(40) % 4)

    assert sorted(len(ids) for ids in split(data, 0)) == [10, 10, 10, 10]
    with pytest.raises(DataError, match="four splits, got 40, in 3 groups"):
        split(replace(data, groups=torch.arange(40) % 3), 0)


def test_a_group_in_an_official_split_and_in_train_is_refused():
    data = image_set(40, groups=torch.arange(40) % 20, test=torch.arange(10))

    with pytest.raises(DataError, match="got 10 in two: of one group are"):
        split(data, 0)
    whole = replace(data, test=torch.cat((torch.arange(5), torch.arange(20, 25))))
    assert len(split(whole, 0).test) == 10


def test_an_official_val_split_is_halved_by_the_seed_and_groups_stay_whole():
    data = image_set(100, val=torch.arange(40), test=torch.arange(40, 50))
    one, other = split(data, 0), split(data, 1)

    assert torch.cat((one.val, one.calib)).sort().values.tolist() == list(range(40))
    assert (len(one.val), one.train.tolist()) == (20, list(range(50, 100)))
    assert not torch.equal(one.val, other.val)
    grouped = split(replace(data, groups=torch.arange(100) // 10), 0)
    assert {len(set((ids // 10).tolist())) for ids in (grouped.val, grouped.calib)} == {2}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"groups": torch.zeros(3).long()}, r"groups in int64, \(12,\)"),
        ({"groups": torch.zeros(12)}, "groups.long"),
        ({"weights": torch.ones(12).long()}, "weights.float"),
        ({"weights": -torch.ones(12)}, "finite weights of at least 0"),
        ({"weights": torch.full((12,), torch.nan)}, "finite weights of at least 0"),
        ({"val": torch.tensor([12])}, "the ids of val to be different, from 0 to 11"),
        ({"val": torch.tensor([1]), "test": torch.tensor([1])}, "1 in both: image 1"),
    ],
)
def test_fields_that_describe_other_images_are_refused(fields, complaint):
    with pytest.raises(DataError, match=complaint):
        image_set(12, **fields)


def test_weights_are_divided_by_their_mean_in_train_and_hashed():
    data = image_set(12, weights=torch.arange(12).double())

    assert data.training_weights(torch.tensor([1, 3])).tolist() == [0.5, 1.5]
    assert image_set(12).training_weights(torch.arange(3)) is None
    assert data.sha256() != image_set(12).sha256()
    with pytest.raises(DataError, match="a weight above 0 in train"):
        data.training_weights(torch.tensor([0]))


def weighted_batches() -> ShuffledBatches:
    data, ids = image_set(32, weights=torch.arange(32).double() + 1), torch.arange(32)
    return ShuffledBatches(
        Resident(data.images, torch.device("cpu")),
        ids,
        Normalisation.of(data.images),
        8,
        encode=lambda labels: labels,
        augmentation=Augmentation(),
        seed=0,
        weights=data.training_weights(ids),
    )


def test_a_weight_stays_with_its_example_in_every_batch_and_share():
    batches = weighted_batches()

    for _, labels, weights in batches:
        torch.testing.assert_close(weights, (labels + 1) / 16.5)


def test_the_weight_of_a_mixed_example_is_mixed_as_its_target_is():
    n, places = 6, torch.arange(6)
    recipe = Augmentation(mixup=0.7)
    mixing = Mixing(
        recipe, n, places, n, shape=(1, 2, 2), seed=0, epoch=0, device=torch.device("cpu")
    )
    rows, target, weights = torch.rand(n, 2, 2), torch.eye(n), torch.rand(n)
    _, mixed, mixed_weights = mixing(0, rows, target, weights)

    torch.testing.assert_close(mixed_weights, mixed @ weights)
    assert torch.equal(mixing(0, rows, target)[1], mixed)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_gradient_is_that_of_the_mean_of_weighted_losses(parts):
    weights, losses = torch.tensor([0.5, 1.5, 2.0, 0.0]), torch.rand(4, requires_grad=True)
    classifier = Classifier(
        torch.nn.Flatten(), lambda _, some: losses[some], *[lambda *_: None] * 3, 0,
        groups=Groups(weighted_batches()), encode=int, batch_size=4, accumulate=parts,
    )  # fmt: skip
    classifier.compute_gradient(torch.zeros(4, 1, 1, 1), torch.arange(4), weights)

    torch.testing.assert_close(losses.grad, weights / 4)
    assert torch.equal(classifier.train_losses[0], losses.detach())
