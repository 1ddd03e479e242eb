"""Published corrupted images are scored as computed ones are, and never mixed with them."""

import numpy as np
import pytest
import torch

from xent_bench.config.configure import ConfigError, check_top_level
from xent_bench.config.identity import run_folder
from xent_bench.corruptions import corrupted
from xent_bench.data.digits import digits
from xent_bench.data.split import split
from xent_bench.failures import DataError
from xent_bench.runs.result import load_run
from xent_bench.training.run import run

TINY = ("data=digits", "model=mlp", "model.width=16", "epochs=1", "machine.offline=true")


@pytest.fixture
def root(tmp_path):
    """A set in CIFAR-10-C's layout: fog as computed here, and a corruption that only it has."""
    folder = tmp_path / "digits-c"
    folder.mkdir()
    data = digits()
    ids = split(data, 0).test
    foggy = [corrupted(data.images[ids], "fog", severity, ids) for severity in range(1, 6)]
    for name, images in (("fog", foggy), ("zigzag", foggy[::-1])):
        np.save(folder / f"{name}.npy", torch.cat(images).permute(0, 2, 3, 1).numpy())
    np.save(folder / "labels.npy", data.labels[ids].repeat(5).numpy())
    return folder


@pytest.fixture
def scores(config):
    """The scores under shift of a run, which is trained when it is asked for the first time."""

    def of(*words):
        metrics = run(config(*TINY, *words, base=()), "xent-train")["metrics"]
        return {key: value for key, value in metrics.items() if key.startswith("shift")}

    return of


def test_the_scores_are_those_of_the_same_images_computed_here(scores, root, config):
    words = ("shift.names=[fog]", "shift.severities=[2,5]")
    published = scores(*words, f"shift.root={root}")
    computed = run(config(*TINY, *words, base=(), folder="beside"), "xent-train")["metrics"]

    assert published == {key: computed[key] for key in published}
    assert len(published) == 2 * 8
    folder = run_folder(config(*TINY, base=()))
    assert load_run(folder / "result.json").tags["shift_images"] == "published"


def test_a_set_may_have_corruptions_of_its_own(scores, root):
    published = scores("shift.names=[fog,zigzag]", "shift.severities=[1,5]", f"shift.root={root}")

    assert published["shift/zigzag/1/nll"] == published["shift/fog/5/nll"]
    assert published["shift/zigzag/5/nll"] == published["shift/fog/1/nll"]


def test_published_and_computed_images_are_not_mixed(scores, root):
    scores("shift.names=[fog]", "shift.severities=[1]")

    with pytest.raises(DataError, match=r"the run has scores on computed images.*without shift"):
        scores("shift.names=[fog]", "shift.severities=[1,2]", f"shift.root={root}")
    with pytest.raises(DataError, match=r"the run has scores on computed images.*without shift"):
        scores("shift.names=[fog]", "shift.severities=[1]", f"shift.root={root}")


def test_other_labels_than_those_of_test_are_refused_before_the_training(scores, root, tmp_path):
    labels = np.load(root / "labels.npy")
    labels[3] = (labels[3] + 1) % 10
    np.save(root / "labels.npy", labels)

    with pytest.raises(DataError, match=r"expected the labels of test in .*labels\.npy"):
        scores("shift.names=[fog]", f"shift.root={root}")
    assert not (tmp_path / "runs").exists()


def test_a_corruption_that_is_not_there_is_named(scores, root):
    with pytest.raises(DataError, match=r"no snow in shift\.root"):
        scores("shift.names=[snow]", f"shift.root={root}")


def test_a_corruption_that_nobody_can_compute_needs_a_root(composed):
    with pytest.raises(ConfigError, match="no such corruption as zigzag"):
        check_top_level(composed("shift.names=[zigzag]"))
