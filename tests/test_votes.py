"""Votes of people: which label training sees, and how nets are scored against all votes."""

import numpy as np
import pytest
import torch
from trained_run import untimed

from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_folder, run_key
from xent_bench.config.schema import TrainingTarget
from xent_bench.config.targets import encode
from xent_bench.data.image_set import ImageSet
from xent_bench.training.run import run

QUICK = ("model=linear", "epochs=2", "batch_size=32", "optimizer.lr=0.01", "machine.offline=true")


def voted(*, n: int = 300, majority: bool = False, ties: int = 0, voters: int = 5) -> ImageSet:
    """Images of three shades with votes on the shade, or their majority as hard labels."""
    rng = np.random.default_rng(0)
    shade = rng.integers(3, size=n)
    pixels = 40 + 80 * shade[:, None, None, None] + rng.integers(30, size=(n, 1, 4, 4))
    votes = np.stack([rng.multinomial(voters, np.eye(3)[k] * 0.7 + 0.1) for k in shade])
    votes[:ties] = 3, 3, 0
    rows = torch.from_numpy(votes / votes.sum(axis=1, keepdims=True))
    labels = rows.argmax(dim=1) if majority else rows
    images = torch.from_numpy(pixels.astype(np.uint8))
    return ImageSet(images, labels, ("dark", "grey", "light"), test=torch.arange(n - 90, n))


def asked(config, *words):
    return config(*words, base=("data=own", "data._target_=test_votes.voted", *QUICK))


def arrays(config) -> dict[str, np.ndarray]:
    with np.load(run_folder(config) / "predictions.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize("loss", ["ce", "sparse_ce", "balanced_softmax"])
def test_training_on_majorities_is_training_on_hard_labels_and_scores_keep_the_votes(config, loss):
    hard = asked(config, f"loss={loss}", "+data.majority=true")
    votes = asked(config, f"loss={loss}", "target=majority")
    of_hard, of_votes = run(hard)["metrics"], run(votes)["metrics"]
    losses = [
        [values["val/loss"] for _, values in untimed(asked_config)]
        for asked_config in (hard, votes)
    ]
    one, other = arrays(hard), arrays(votes)

    for split in ("calib", "test"):
        assert np.array_equal(one[f"{split}_logits"], other[f"{split}_logits"])
        assert np.array_equal(one[f"{split}_target"], other[f"{split}_target"].argmax(axis=1))
        assert len(np.unique(other[f"{split}_target"])) > 2
    assert losses[0] == losses[1]  # as training sees it
    assert of_votes["val/nll"] != of_hard["val/nll"]
    assert of_votes["test/top1_likeliest"] == of_hard["test/top1"]
    assert of_votes["test/label_entropy"] > 0.1


def test_an_index_loss_is_refused_on_votes_and_told_of_the_majority(config):
    with pytest.raises(ConfigError, match=r"ce for one, or target=majority, which trains on"):
        run(asked(config, "loss=sparse_ce"))


def test_a_tied_vote_is_for_the_first_of_its_classes_and_counted(config, capsys):
    labels = torch.tensor([[0.2, 0.4, 0.4], [0.0, 0.4, 0.6], [1 / 3, 1 / 3, 1 / 3]])
    majority = TrainingTarget.majority
    assert encode(labels, "Index", 3, majority).tolist() == [1, 2, 0]
    assert encode(labels, "Distribution", 3, majority).tolist() == torch.eye(3)[[1, 2, 0]].tolist()

    result = run(asked(config, "target=majority", "+data.ties=210", "epochs=1"))

    train = result["tags"]["tied_majorities"].split(" of ")
    assert train[0] == train[1]
    assert f"votes are tied for {train[0]} of {train[0]} images of train" in capsys.readouterr().err


def test_losses_that_take_an_index_train_on_rows_that_are_all_one_class(config):
    """A votes file of test leaves rows of one class in train: nothing is lost by their index."""
    unanimous = asked(config, "loss=sparse_ce", "+data.voters=1")
    run(unanimous)
    _, last = untimed(unanimous)[-1]

    assert last["val/label_entropy"] == 0
    assert last["val/loss"] == pytest.approx(last["val/nll"], rel=1e-5)


def test_the_target_counts_in_the_key_unless_it_is_votes(composed):
    plain, votes, majority = (
        run_key(composed("data=digits", *words))
        for words in ((), ("target=votes",), ("target=majority",))
    )

    assert plain == votes
    assert majority != plain


def test_a_majority_of_hard_labels_is_those_labels(config):
    one, other = (
        run(asked(config, "+data.majority=true", "epochs=1", f"target={target}"))
        for target in ("votes", "majority")
    )

    assert one["metrics"]["test/nll"] == other["metrics"]["test/nll"]
    assert "tied_majorities" not in other["tags"]


# --- weights of examples


def weighted(*, repeated: bool) -> ImageSet:
    """Training images with weights of 1 to 3, or each of them so often; the same val and test."""
    data = voted(n=150, majority=True)
    others = torch.arange(60, 150)
    weights = torch.arange(60) % 3 + 1
    train = torch.arange(60).repeat_interleave(weights) if repeated else torch.arange(60)
    order, n = torch.cat([train, others]), len(train)
    return ImageSet(
        data.images[order],
        data.labels[order],
        data.classes,
        test=torch.arange(n + 40, n + 90),
        val=torch.arange(n, n + 40),
        mean=(0.5,),  # else the moments of train, which repeated images change
        std=(0.25,),
        weights=None if repeated else torch.cat([weights, torch.ones(90)]).double(),
    )


@pytest.mark.parametrize("loss", ["ce", "focal"])
def test_training_on_weighted_images_is_training_on_repeated_images(config, loss):
    """One batch an epoch holds all of train: 60 weighted images, or 120 with repetitions."""
    words = ("model=linear", "epochs=4", "optimizer=sgd", "optimizer.lr=0.05", f"loss={loss}")
    base = ("data=own", "data._target_=test_votes.weighted", *words, "machine.offline=true")
    runs = [
        config(f"+data.repeated={repeated}", f"batch_size={size}", base=base)
        for repeated, size in (("false", 60), ("true", 120))
    ]
    for asked_config in runs:
        run(asked_config)
    by_weight, by_copies = (arrays(asked_config)["test_logits"] for asked_config in runs)

    np.testing.assert_allclose(by_weight, by_copies, atol=2e-5)
    assert np.ptp(by_weight) > 0.1
