"""A net that normalises by batches depends on how many images are computed at once: it is said."""

import json

import pytest
from torch import nn

from xent_bench.config.identity import run_folder
from xent_bench.training.batch_statistics import batch_statistics
from xent_bench.training.run import run

CNN = ("data=synthetic", "data.n=200", "model=cnn", "model.width=4", "epochs=1", "batch_size=32")


def warnings(capsys):
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if "the net normalises by batches" in line]


def test_a_batch_in_parts_is_said_at_the_start_and_kept_as_a_tag(config, capsys):
    wanted = config("accumulate=32", base=CNN)
    tags = run(wanted)["tags"]

    assert tags["batch_statistics"] == "1 image of 32"
    assert warnings(capsys) == [
        "ce-s0: accumulate=32: the net normalises by batches (BatchNorm2d at 0.1, 3 layers), of "
        "1 image each instead of 32; its results will differ, often for the worse; a smaller "
        "accumulate or a net without batch normalisation is the way out"
    ]
    begun = json.loads((run_folder(wanted) / "begun.json").read_text())
    assert begun["tags"]["batch_statistics"] == "1 image of 32"
    run(wanted)
    assert warnings(capsys) == []


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_batch_of_hardly_an_image_is_said_too(config, capsys, batch_size):
    tags = run(config(f"batch_size={batch_size}", "data.n=60", base=CNN))["tags"]

    assert tags["batch_statistics"] == ("1 image" if batch_size == 1 else "2 images")
    (line,) = warnings(capsys)
    assert f"batch_size={batch_size}: " in line


@pytest.mark.parametrize("overrides", [("accumulate=1",), ("accumulate=4", "model=linear")])
def test_where_nothing_changes_nothing_is_said(config, capsys, overrides):
    base = ("data=synthetic", "data.n=200", "model=cnn", "epochs=1", "batch_size=32")

    assert "batch_statistics" not in run(config(*overrides, base=base))["tags"]
    assert warnings(capsys) == []


def test_other_normalisations_see_each_image_alone():
    alone = nn.Sequential(nn.GroupNorm(1, 4), nn.LayerNorm(4), nn.InstanceNorm2d(4))

    assert batch_statistics(alone, 64, 64) is None


def test_every_kind_of_batch_normalisation_counts():
    for net in (nn.BatchNorm1d(3), nn.BatchNorm3d(3), nn.SyncBatchNorm(3), nn.LazyBatchNorm2d()):
        tag, warning = batch_statistics(net, 64, 2)

        assert tag == "32 images of 64"
        assert f"({type(net).__name__} at the net)" in warning
