"""Nets scored on published corrupted images, which lie in files: the same scores as computed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from xent_bench.config.configure import ConfigError, check_top_level
from xent_bench.config.identity import run_folder
from xent_bench.config.schema import CONF, register_schema
from xent_bench.config.shift_asked import shift_asked
from xent_bench.corruptions import corrupted
from xent_bench.data.digits import digits
from xent_bench.data.split import split
from xent_bench.failures import DataError
from xent_bench.trained_net import load as load_net
from xent_bench.training.run import run

SEVERITIES = (1, 2, 3, 4, 5)


def config_of(root: Path, *words: str) -> DictConfig:
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["machine=cpu", "machine.threads=1", "epochs=1", *words])
    config.machine.runs, config.machine.offline = str(root / "runs"), True
    return config


@pytest.fixture
def cifar_c(tmp_path: Path) -> Path:
    """The corrupted test images of the digits in the layout of CIFAR-10-C."""
    data = digits()
    test = split(data, 0).test
    folder = tmp_path / "digits-c"
    folder.mkdir()
    for name in ("fog", "contrast"):
        images = [corrupted(data.images[test], name, level, test) for level in SEVERITIES]
        np.save(folder / f"{name}.npy", torch.cat(images).permute(0, 2, 3, 1).numpy())
    np.save(folder / "labels.npy", np.tile(data.labels[test].numpy(), 5))
    return folder


def scores(metrics: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if key.startswith("shift")}


def test_published_images_give_the_scores_of_computed_ones(tmp_path, cifar_c):
    digits_run = ("model=mlp", "model.width=16")
    asked = ("shift.names=[fog,contrast]", "shift.severities=[2,5]")
    computed = run(config_of(tmp_path / "one", *digits_run, *asked))
    published = run(config_of(tmp_path / "two", *digits_run, *asked, f"shift.root={cifar_c}"))
    assert scores(published["metrics"]) == scores(computed["metrics"])
    assert len(scores(published["metrics"])) == 2 * 2 * 8
    assert published["tags"]["shift_images"] == "published"


def test_all_are_those_of_the_folder_where_it_lacks_one_of_the_fifteen(tmp_path, cifar_c):
    config = config_of(tmp_path, "shift=all", f"shift.root={cifar_c}")
    conditions = shift_asked(config).conditions
    assert conditions == tuple(f"{name}/{s}" for name in ("fog", "contrast") for s in SEVERITIES)


def test_names_and_severities_of_a_folder_are_its_own(tmp_path):
    folder = tmp_path / "mnist-c" / "zigzag"
    folder.mkdir(parents=True)
    np.save(folder / "test_images.npy", np.zeros((3, 28, 28, 1), np.uint8))
    root = f"shift.root={folder.parent}"
    zigzag = config_of(tmp_path, "shift.names=[zigzag]", root)
    check_top_level(zigzag)
    assert shift_asked(zigzag).conditions == ("zigzag/1",)
    for words, complaint in (
        (("shift.names=[zigzag]",), "no such corruption as zigzag"),
        (("shift.names=[fog]", root), "no such corruption as fog; there is all, zigzag"),
        (("shift.names=[zigzag]", "shift.severities=[2,3]", root), "has severity 1 alone"),
        (("shift=all", f"shift.root={folder}"), r"NAME\.npy and labels\.npy .* got none"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            check_top_level(config_of(tmp_path, *words))


def test_published_images_of_other_labels_or_shapes_are_refused_before_training(tmp_path, cifar_c):
    words = ("model=mlp", "shift.names=[fog]", f"shift.root={cifar_c}")
    labels = np.load(cifar_c / "labels.npy")
    np.save(cifar_c / "labels.npy", (labels + 1) % 10)
    with pytest.raises(DataError, match="corrupted images of another data set"):
        run(config_of(tmp_path, *words))
    np.save(cifar_c / "labels.npy", labels)
    np.save(cifar_c / "fog.npy", np.zeros((5 * 359, 9, 8, 1), np.uint8))
    with pytest.raises(DataError, match=r"expected images of 8 x 8 x 1 .* got 9 x 8 x 1"):
        run(config_of(tmp_path, *words))
    assert not (tmp_path / "runs").exists()  # nothing is left behind


def test_published_files_are_matched_with_those_of_test(tmp_path):
    """ImageNet-C's layout: a file of the same class and name, which has the size of the crop."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 24), ("val", 4)):
        for name in ("n01", "n02"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for number in range(n):
                pixels = rng.integers(0, 256, (20, 30, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / f"photos/{part}/{name}/{number}.png")
    for name in ("n01", "n02"):
        folder = tmp_path / f"photos-c/blur/motion_blur/3/{name}"
        folder.mkdir(parents=True)
        for number in range(4):
            grey = np.full((16, 16, 3), 40 * number + 100 * (name == "n02"), np.uint8)
            Image.fromarray(grey).save(folder / f"{number}.png")
    words = (
        *("data=imagenet", f"data.root={tmp_path}/photos", "data.size=16", "data.shorter_side=16"),
        *("model=linear", "batch_size=8", "machine.workers=0"),
        *("shift.names=[motion_blur]", f"shift.root={tmp_path}/photos-c"),
    )
    config = config_of(tmp_path, *words)
    metrics = run(config)["metrics"]
    levels = [40 * number + 100 * n02 for n02 in (0, 1) for number in range(4)]
    images = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(8, 3, 16, 16)
    answers = load_net(run_folder(config)).outputs(images.contiguous()).argmax(dim=1)
    right = (answers == torch.tensor([0] * 4 + [1] * 4)).double().mean().item()
    assert metrics["shift/motion_blur/3/top1"] == right
    (tmp_path / "photos-c/blur/motion_blur/3/n02/3.png").unlink()
    with pytest.raises(DataError, match=r"none of 1 of 8, such as n02/3\.png"):
        run(config_of(tmp_path, *words, "seed=1"))
