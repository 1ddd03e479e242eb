"""Sets of a user's own function: what is no set is refused at the start, with a way to mend it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from xent_bench.config.explain import exit_code
from xent_bench.config.identity import run_folder
from xent_bench.data.image_set import ImageSet
from xent_bench.data.synthetic import synthetic
from xent_bench.failures import DataError
from xent_bench.training.run import run

N = 12
IMAGES = torch.randint(0, 256, (N, 1, 8, 8), dtype=torch.uint8)
LABELS = torch.arange(N) % 2
GOOD = {"images": IMAGES, "labels": LABELS, "classes": ("a", "b")}

WRONG = [
    ("classes", (0, 1, 2), r"tuple of names \(str\), got 0 of type int"),
    ("classes", (b"a", b"b"), r"names \(str\), got b'a' of type bytes"),
    ("classes", ("a", None), r"names \(str\), got None of type NoneType"),
    ("classes", ("a", "a", "b"), "different names of classes, got a 2 times"),
    ("classes", ("a", " "), "names of classes that can be printed, got ' '"),
    ("classes", ("a", ""), "can be printed, got ''"),
    ("classes", ("a", "b\n"), r"can be printed, got 'b\\n'"),
    ("classes", ("a", "\udcff"), r"can be printed, got '\\udcff'"),
    ("classes", ["a", "a"], "different names of classes, got a 2 times"),
    ("classes", {"a", "b"}, "classes as a tuple of names, got set"),
    ("classes", "ab", "classes as a tuple of names, got str"),
    ("classes", 2, "classes as a tuple of names, got int"),
    ("classes", ("a",), "at least two classes, got 1"),
    ("labels", LABELS.tolist(), "got list: torch.tensor makes one"),
    ("labels", LABELS.numpy(), "got ndarray: torch.from_numpy makes one"),
    ("labels", LABELS.float(), r"of shape \(12, 2\), got \(12,\): labels.long\(\) makes classes"),
    ("labels", LABELS.byte(), r"int64.*got torch.uint8 of shape \(12,\): labels.long\(\)"),
    ("labels", LABELS.bool(), r"int64.*got torch.bool of shape \(12,\): labels.long\(\)"),
    ("labels", LABELS[:, None], r"int64, \(n,\).*got torch.int64 of shape \(12, 1\)"),
    ("labels", torch.tensor(1), "a label for each of 12 images, got a single number"),
    ("labels", LABELS[:-1], "a label for each of 12 images, got 11"),
    ("labels", LABELS + 1, "labels from 0 to 1, got 1 to 2"),
    ("labels", torch.full((N, 2), 0.5).half(), "float32 or float64, got torch.float16"),
    ("labels", torch.eye(2)[LABELS].to_sparse(), "as a dense tensor"),
    ("images", IMAGES.numpy(), "got ndarray: torch.from_numpy makes one"),
    ("images", IMAGES.tolist(), "got list: torch.tensor makes one"),
    ("images", IMAGES / 255, r"got torch.float32.*\(images \* 255\).round\(\).byte\(\) converts"),
    ("images", IMAGES.float(), r"uint8, \(n, channels, h, w\), got torch.float32"),
    ("images", IMAGES.int(), "got torch.int32"),
    ("images", IMAGES[:, 0], r"\(12, 8, 8\): images\[:, None\] adds the channel"),
    ("images", torch.zeros(N, 8, 8, 3).byte(), r"looks like \(n, h, w, channels\).*permute"),
    ("images", torch.zeros(N, 1, 0, 0).byte(), "images with pixels"),
    ("test", [0, 1], "the ids of test as a torch tensor, got list: torch.tensor makes one"),
    ("test", torch.tensor([0, 0]), "ids of test to be different, from 0 to 11"),
    ("test", torch.tensor([12]), "ids of test to be different, from 0 to 11"),
    ("test", torch.tensor([-1]), "ids of test to be different, from 0 to 11"),
    ("test", torch.tensor([]), "ids of test in int64"),
    ("test", torch.tensor([]).long(), "expected ids of test, got none"),
    ("test", LABELS == 1, "ids of test in int64, .* got torch.bool"),
    ("posterior", torch.full((N, 2), 0.5), "posterior as a function of ids, got Tensor"),
    ("augmentation", {"flip": True}, r"an Augmentation\(flip, crop\), got dict"),
]


@pytest.mark.parametrize(("name", "value", "complaint"), WRONG)
def test_what_a_set_is_not_made_of_is_refused_in_one_line(name, value, complaint):
    with pytest.raises(DataError, match=complaint) as refusal:
        _unchecked(GOOD | {name: value})
    assert "\n" not in str(refusal.value)


def _unchecked(values: dict[str, object]) -> ImageSet:
    """Build a set as a user's run does, where nothing enforces annotations."""
    data = object.__new__(ImageSet)
    defaults = {"test": None, "augmentation": synthetic(n=9).augmentation, "posterior": None}
    for name, value in (defaults | values).items():
        object.__setattr__(data, name, value)
    data.__post_init__()
    return data


def _raising(ids: torch.Tensor) -> torch.Tensor:
    raise KeyError(f"no id {len(ids)}")


POSTERIORS = [
    (_raising, r"posterior, got KeyError: 'no id 5', at .*test_own_sets.py:\d+"),
    (lambda ids: [[0.5, 0.5]] * len(ids), "tensor of rows, got list"),
    (lambda ids: torch.full((len(ids) + 1, 2), 0.5), r"of 5 images.* got \(6, 2\)"),
    (lambda ids: ids.double().mean(), r"of 5 images as a tensor of rows, got \(\)"),
    (lambda ids: torch.full((len(ids), 3), 1 / 3), r"p\(y\|x\): expected soft labels of shape"),
    (lambda ids: torch.full((len(ids), 2), float("nan")), "sum to 1 in each row"),
    (lambda ids: torch.ones(len(ids), 2).long(), "float32 or float64, got torch.int64"),
]


@pytest.mark.parametrize(("posterior", "complaint"), POSTERIORS)
def test_a_posterior_that_fails_or_gives_something_else_is_named(posterior, complaint):
    data = ImageSet(**GOOD, posterior=posterior)

    with pytest.raises(DataError, match=complaint):
        data.true_posterior(torch.arange(5))


def test_a_posterior_may_carry_a_gradient():
    weights = torch.full((2,), 0.5, requires_grad=True)
    data = ImageSet(**GOOD, posterior=lambda ids: weights.expand(len(ids), 2))

    assert np.array_equal(data.true_posterior(torch.arange(3)), np.full((3, 2), 0.5))


def broken() -> ImageSet:
    return replace(synthetic(n=600), posterior=_raising)


def test_a_posterior_that_raises_is_refused_before_training(config):
    wanted = config("data=digits", base=("model=linear", "loss=ce", "epochs=1"))
    wanted.data._target_ = f"{__name__}.broken"

    with pytest.raises(DataError, match="KeyError") as refusal:
        run(wanted)
    assert exit_code(refusal.value) == 3
    assert not run_folder(wanted).exists()


def test_a_list_of_classes_is_the_same_set_as_a_tuple():
    listed = _unchecked(GOOD | {"classes": ["a", "b"]})

    assert listed.classes == ("a", "b")
    assert listed.sha256() == ImageSet(**GOOD).sha256()
