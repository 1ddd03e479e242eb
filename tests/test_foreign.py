"""Certainties tell test's images from foreign ones, as scikit-learn scores it."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL
from hydra import compose, initialize_config_dir
from PIL import Image
from scipy.special import expit, softmax
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from xent_bench import links
from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_folder
from xent_bench.config.schema import CONF, register_schema
from xent_bench.config.shift_asked import foreign_of
from xent_bench.data.fashion_mnist import fashion_mnist
from xent_bench.evaluation.shifted import certainties
from xent_bench.failures import DataError
from xent_bench.metrics.detection import detection
from xent_bench.runs.kept_outputs import kept_in, kept_outputs
from xent_bench.runs.predictions import load as load_predictions
from xent_bench.runs.result import load_run
from xent_bench.shift.foreign_images import Wanted, foreign_images
from xent_bench.trained_net import load as load_net
from xent_bench.training.run import run

GREY = Wanted((1, 8, 8), 100)
COLOUR = Wanted((3, 8, 8), 100)


@pytest.mark.parametrize("values", [40, 5, 1], ids=["few ties", "many ties", "all equal"])
@pytest.mark.parametrize("sizes", [(300, 300), (30, 400), (400, 7)])
def test_the_scores_are_those_of_scikit_learn(values, sizes):
    rng = np.random.default_rng(0)
    test = rng.integers(values, size=sizes[0]) * 1.5 + rng.integers(2)
    foreign = rng.integers(values, size=sizes[1]).astype(np.float64)
    scores = detection(test, foreign)
    is_test = np.repeat([1, 0], sizes)
    both = np.concatenate((test, foreign))
    false, true, _ = roc_curve(is_test, both, drop_intermediate=False)

    assert scores.auroc == pytest.approx(roc_auc_score(is_test, both), abs=1e-12)
    assert scores.aupr_test == pytest.approx(average_precision_score(is_test, both), abs=1e-12)
    expected = average_precision_score(1 - is_test, -both)
    assert scores.aupr_foreign == pytest.approx(expected, abs=1e-12)
    assert scores.fpr95_test == pytest.approx(false[np.argmax(true >= 0.95)], abs=1e-12)


def test_a_threshold_that_accepts_exactly_95_of_100_images_is_enough():
    test = np.arange(100.0)  # 5 and above: 95 images
    foreign = np.array([4.5, 5.5])

    assert detection(test, foreign).fpr95_test == 0.5


def test_perfect_detection_and_its_opposite():
    low, high = np.arange(5.0), np.arange(10.0, 15.0)

    assert detection(high, low) == (1, 1, 1, 0)
    assert detection(low, high)[::3] == (0, 1)


def test_certainties_are_those_that_the_link_gives():
    z = np.random.default_rng(1).normal(scale=3, size=(20, 4)).astype(np.float32)
    ordered = np.sort(z.astype(np.float64), axis=1)
    p = softmax(z.astype(np.float64), axis=1)
    found = certainties(z, partial(links.softmax))

    np.testing.assert_allclose(found["margin"], ordered[:, -1] - ordered[:, -2])
    np.testing.assert_allclose(found["output"], ordered[:, -1])
    np.testing.assert_allclose(found["confidence"], p.max(axis=1))
    np.testing.assert_allclose(found["entropy"], (p * np.log(p)).sum(axis=1))
    np.testing.assert_allclose(found["energy"], np.log(np.exp(z.astype(np.float64)).sum(axis=1)))
    q = expit(z.astype(np.float64))
    by_sigmoid = certainties(z, partial(links.sigmoid))
    np.testing.assert_allclose(by_sigmoid["confidence"], (q / q.sum(1, keepdims=True)).max(axis=1))
    assert by_sigmoid.keys() == {"margin", "output", "confidence", "entropy"}
    assert certainties(z, partial(links.margin)).keys() == {"margin", "output"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, store):
    """A run on images of 8 x 8 pixels, scored on noise and on Fashion-MNIST's clothes."""
    root = tmp_path_factory.mktemp("foreign")
    folder = root / "clothes"
    (folder / "shirts" / "old").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(256, size=(7, 20, 30), dtype=np.uint8)
    for number, image in enumerate(pixels):
        place = folder / ("shirts/old" if number % 2 else "shirts") / f"{number}.png"
        Image.fromarray(image).save(place)
    (folder / "note.txt").write_text("no image")
    _run(root, store, f"foreign=[noise,{folder}]")
    return root


def _run(root: Path, store: str, *words: str) -> dict[str, float]:
    return run(_config(root, store, *words), "xent-train")["metrics"]


def _config(root, store, *words):
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["machine=cpu", "machine.threads=1", *SMALL, *words])
    config.machine.runs, config.machine.tracking = str(root / "runs"), store
    config.experiment = f"foreign-{root.name}"
    return config


def _folder(root: Path, store: str) -> Path:
    return run_folder(_config(root, store))


def test_a_run_has_the_scores_of_its_net_on_each_set(trained, store):
    folder = _folder(trained, store)
    net, metrics = load_net(folder), load_run(folder / "result.json").metrics
    of_test = softmax(load_predictions(folder / "predictions.npz").test.outputs.astype(float), 1)
    for name, entry in foreign_of(["noise", str(trained / "clothes")]).items():
        images = torch.cat([*foreign_images(name, entry, Wanted.by(net.record), 120).batches()])
        p = softmax(net.outputs(images).numpy().astype(float), axis=1)
        is_test = np.repeat([1, 0], [len(of_test), len(p)])
        confidence = np.concatenate((of_test.max(axis=1), p.max(axis=1)))
        expected = roc_auc_score(is_test, confidence)

        assert metrics[f"foreign/{name}/auroc_confidence"] == pytest.approx(expected, abs=1e-12)
    origin = load_run(folder / "result.json").tags["foreign_clothes"]
    assert origin.startswith(f"7 image files of {trained / 'clothes'}, their central part resized")


def test_each_set_is_kept_as_it_was_computed(trained, store):
    folder = _folder(trained, store)
    outputs = dict(kept_outputs(folder / "foreign.npz", 10))

    assert {name: len(rows) for name, rows in outputs.items()} == {
        "noise_uniform": 120,
        "noise_gaussian": 120,
        "clothes": 7,
    }
    assert kept_in(folder / "foreign.npz").texts["origin of noise_uniform"].startswith("120 images")


def test_a_set_that_is_added_leaves_the_others(trained, store, tmp_path):
    shutil.copytree(trained / "runs", tmp_path / "runs")
    before = load_run(_folder(trained, store) / "result.json").metrics
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(trained / "clothes" / "shirts" / "0.png", few)
    config = _config(trained, store, f"foreign=[{few}]", "machine.offline=true")
    config.machine.runs = str(tmp_path / "runs")
    after = run(config, "xent-train")["metrics"]

    assert {key: after[key] for key in before} == before
    assert {key.split("/")[1] for key in after.keys() - before.keys()} == {"few"}


def test_another_folder_of_the_same_name_is_not_taken_for_the_first(trained, store, tmp_path):
    (tmp_path / "clothes").mkdir()
    with pytest.raises(DataError, match="foreign: clothes of this run is 7 image files"):
        _run(trained, store, f"foreign=[{tmp_path / 'clothes'}]")


def test_noise_is_the_same_each_time_and_covers_its_range():
    for name in foreign_of(["noise"]):
        one, other = (
            torch.cat([*foreign_images(name, "noise", COLOUR, 250).batches()]) for _ in range(2)
        )
        assert torch.equal(one, other)
        assert one.shape == (250, 3, 8, 8)
    uniform, gaussian = (
        next(foreign_images(name, "noise", COLOUR, 250).batches()).double()
        for name in ("noise_uniform", "noise_gaussian")
    )
    assert uniform.mean().item() == pytest.approx(127.5, abs=2)
    # of a normal variable with mean 1/2 and variance 1, P(x < 0) = P(x > 1) = 0.3085
    assert (gaussian == 0).double().mean().item() == pytest.approx(0.3085, abs=0.01)
    assert (gaussian == 255).double().mean().item() == pytest.approx(0.3085, abs=0.01)


def test_a_choice_of_data_gives_its_test_split_in_the_size_of_the_run():
    data = fashion_mnist()
    images = torch.cat([*foreign_images("fashion_mnist", "fashion_mnist", GREY, 9).batches()])
    first = Image.fromarray(data.images[data.test[0], 0].numpy())
    expected = np.asarray(first.resize((8, 8), Image.Resampling.BILINEAR), dtype=int)

    assert images.shape == (10_000, 1, 8, 8)
    assert np.abs(images[0, 0].numpy().astype(int) - expected).max() <= 1


def test_an_oblong_image_is_cut_to_its_centre(tmp_path):
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:16] = 200
    Image.fromarray(pixels).save(tmp_path / "image.png")
    (images,) = foreign_images(tmp_path.name, str(tmp_path), GREY, 9).batches()

    assert (images == 200).all()


@pytest.mark.parametrize(
    ("entry", "wanted", "complaint"),
    [
        ("fashion_mnist", COLOUR, "expected images of 3 channels, as test's have, got fashion_mni"),
        ("features", GREY, "features has no images without data.root; expected a folder"),
        ("table", GREY, "table has no images without data.root; expected a folder"),
    ],
)
def test_a_set_that_does_not_fit_is_refused_in_one_line(entry, wanted, complaint):
    with pytest.raises(ConfigError, match=f"foreign: {complaint}") as refusal:
        foreign_images(entry, entry, wanted, 9)

    assert "\n" not in str(refusal.value)


def test_a_folder_that_does_not_fit_is_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"foreign: expected images in .*, found none"):
        foreign_images("empty", str(tmp_path), GREY, 9)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(ConfigError, match=r"foreign: expected grey images.*colour\.png in RGB"):
        foreign_images("colour", str(tmp_path), GREY, 9)

    assert next(foreign_images("colour", str(tmp_path), COLOUR, 9).batches()).shape == (1, 3, 8, 8)
    (tmp_path / "damaged.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"damaged\.png"):
        list(foreign_images("colour", str(tmp_path), COLOUR, 9).batches())


def test_a_set_that_does_not_fit_is_refused_before_the_training(store, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConfigError, match="found none"):
        _run(tmp_path, store, f"foreign=[{tmp_path / 'nothing'}]")

    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("size", ["8", "original"])
def test_a_folder_with_the_runs_own_files_is_refused_before_the_training(store, tmp_path, size):
    for split in ("train", "test"):
        for i in range(12):
            file = tmp_path / "set" / split / "ab"[i % 2] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (i, i, i)).save(file)
    (tmp_path / "test").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "test" / "other.png")
    data = ("data=image_folder", f"data.root={tmp_path / 'set'}", f"data.size={size}")
    words = (*data, "batch_size=4", "machine.workers=0")

    with pytest.raises(ConfigError, match=r"foreign: 12 of the run's own 24 images lie in .*/test"):
        run(_plain(tmp_path, store, *words, f"foreign=[{tmp_path / 'set' / 'test'}]"), "xent-train")
    assert not (tmp_path / "runs").exists()
    run(_plain(tmp_path, store, *words, f"foreign=[{tmp_path / 'test'}]"), "xent-train")


def test_vectors_are_refused_before_the_training(store, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    np.savez(tmp_path / "set.npz", features=vectors, labels=np.arange(200) % 3)
    words = ("data=features", f"data.root={tmp_path / 'set.npz'}", "model=linear")
    for asked, key in (("shift=all", "shift.names"), ("foreign=[noise]", "foreign")):
        with pytest.raises(ConfigError, match=f"{key}: .*vectors"):
            run(_plain(tmp_path, store, *words, asked), "xent-train")


def _plain(root, store, *words):
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["machine=cpu", "machine.threads=1", "epochs=1", *words])
    config.machine.runs, config.machine.tracking = str(root / "runs"), store
    return config
