"""Subgroups of test by an attribute of the images: scores of each, the worst, and their pages."""

from functools import partial

import numpy as np
import pytest
import torch
from mlflow.utils.validation import _validate_metric_name
from PIL import Image
from scipy.special import softmax as probabilities
from scipy.stats import hypergeom, sem

from xent_bench.config.identity import run_folder
from xent_bench.data.attribute import Attribute, check_attribute
from xent_bench.data.features import features
from xent_bench.data.image_set import ImageSet
from xent_bench.data.table import table
from xent_bench.evaluation.evaluate import evaluate
from xent_bench.evaluation.rescore import rescore
from xent_bench.evaluation.subgroup_table import subgroup_table
from xent_bench.failures import DataError
from xent_bench.links import margin, softmax
from xent_bench.metrics.score import score
from xent_bench.metrics.subgroups import LEAST, MOST, names_in_keys, worst
from xent_bench.runs.files import RESULT
from xent_bench.runs.predictions import Predictions, Subgroups, load, predicted, save
from xent_bench.runs.result import load_run
from xent_bench.training.run import run

NAMES = ("Canon", "iPhone 5", "empty")


def predictions(sizes=(200, 100, 60), link=softmax, names=NAMES) -> Predictions:
    """A net that is right less often on later groups."""
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    parts = []
    for split in ("calib", "test"):
        target = rng.integers(4, size=len(group))
        logits = rng.normal(size=(len(group), 4)) + np.eye(4)[target] * (3 - group[:, None] % 3)
        parts.append(predicted(split, logits.astype(np.float32), target, np.arange(len(group))))
    subgroups = Subgroups("camera", tuple(names), group, group)
    return Predictions(*parts, partial(link), tuple("abcd"), subgroups=subgroups)


def test_scores_of_a_group_are_the_scores_of_its_images_alone():
    given = predictions()
    metrics = evaluate(given).metrics
    outputs, target = given.test.outputs.astype(float), given.test.target
    log_p = np.log(probabilities(outputs, axis=1))

    for number, name in enumerate(("Canon", "iPhone_5", "empty")):
        own = given.subgroups.test == number
        right = outputs[own].argmax(axis=1) == target[own]
        nll = -log_p[own, target[own]]
        assert metrics[f"test_group/{name}/n"] == own.sum()
        assert metrics[f"test_group/{name}/top1"] == pytest.approx(right.mean())
        assert metrics[f"test_group/{name}/nll"] == pytest.approx(nll.mean())
        assert metrics[f"test_group_se/{name}/top1"] == pytest.approx(sem(right.astype(float)))
        assert metrics[f"test_group_se/{name}/nll"] == pytest.approx(sem(nll))
        alone = score(outputs[own], target[own])
        assert metrics[f"test_group/{name}/ece"] == pytest.approx(alone["ece"])
        scaled = score(outputs[own] / metrics["test_ts/temperature"], target[own])
        assert metrics[f"test_ts_group/{name}/ece"] == pytest.approx(scaled["ece"])
        assert metrics[f"test_ts_group/{name}/nll"] == pytest.approx(scaled["nll"])
        assert metrics[f"test_group_null/{name}/ece_high"] > 0
    assert metrics["test/worst_group_top1"] == metrics["test_group/empty/top1"]


def test_no_number_without_an_attribute_moves():
    given = predictions()
    with_groups, without = (
        evaluate(part, ["isotonic"]) for part in (given, given._replace(subgroups=None))
    )

    assert without.metrics.items() <= with_groups.metrics.items()
    added = with_groups.metrics.keys() - without.metrics.keys()
    assert {key for key in added if "_group" not in key} == set()
    assert with_groups.words.keys() - without.words.keys() == {"subgroups", "worst_group"}


def test_the_worst_of_two_groups_by_chance_is_that_of_the_hypergeometric_distribution():
    sizes, hits = (40, 60), 70
    top1 = np.repeat([1.0, 0.0], [hits, 30])
    ids = np.random.default_rng(0).permutation(np.repeat([0, 1], sizes))
    k = np.arange(10, 41)
    least = np.minimum(k / sizes[0], (hits - k) / sizes[1])
    expected = (hypergeom(100, hits, sizes[0]).pmf(k) * least).sum()

    group = worst(top1, ids)

    means = [top1[ids == number].mean() for number in (0, 1)]
    assert (group.top1, group.group) == (min(means), int(np.argmin(means)))
    assert group.by_chance == pytest.approx(expected, abs=0.01)


def test_a_group_of_few_images_is_not_the_worst_and_one_group_is_no_comparison():
    ids = np.repeat([0, 1, 2], [LEAST, LEAST - 1, 2 * LEAST])
    top1 = np.where(ids == 1, 0.0, 1.0)
    top1[:3] = 0

    assert worst(top1, ids).group == 0
    assert worst(top1, ids).of == 2
    assert worst(top1[: 2 * LEAST - 1], ids[: 2 * LEAST - 1]) is None


def test_the_largest_of_many_groups_have_scores_and_a_line_says_so():
    sizes = [40 + k % 7 for k in range(MOST + 5)]
    evaluation = evaluate(predictions(sizes, names=[f"v{k}" for k in range(len(sizes))]))
    kept = {k.split("/")[1] for k in evaluation.metrics if k.startswith("test_group/")}
    counts = {f"v{k}": size for k, size in enumerate(sizes)}

    assert len(kept) == MOST
    assert min(counts[name] for name in kept) >= max(counts[n] for n in counts.keys() - kept)
    assert evaluation.words["subgroups"] == (
        f"camera: {MOST + 5} values in test, of which the {MOST} with most images have scores"
    )
    assert f"of {MOST + 5} groups" in evaluation.words["worst_group"]


def test_names_in_keys_are_those_that_mlflow_takes_and_differ_in_any_case():
    values = ("a/b", "a b", "A_b", "..", ".", "", "é 5€", "x" * 300, "-", "\n", "a_b_2")
    names = names_in_keys(values)

    for name in names:
        _validate_metric_name(f"test_group/{name}/top1")
    assert len({name.casefold() for name in names}) == len(values)
    assert names[:3] == ("a_b", "a_b_2", "A_b_3")


def test_a_hinge_has_accuracies_of_groups_and_no_calibration_as_trained():
    metrics = evaluate(predictions(link=margin)).metrics

    assert "test_group/Canon/top1" in metrics
    assert "test_group/Canon/ece" not in metrics
    assert "test_ts_group/Canon/ece" in metrics


def test_groups_come_back_from_the_file_in_the_order_of_the_images(tmp_path):
    given = predictions()
    file = tmp_path / "predictions.npz"
    save(given, file)
    with np.load(file) as stored:
        arrays = dict(stored)
    assert load(file).subgroups.values == NAMES
    order = np.random.default_rng(0).permutation(len(given.test.id))
    for name in ("logits", "target", "id", "attribute"):
        arrays[f"test_{name}"] = arrays[f"test_{name}"][order]
    np.savez(file, **arrays)

    assert np.array_equal(load(file).subgroups.test, given.subgroups.test)
    assert evaluate(load(file)).metrics == evaluate(given).metrics


@pytest.mark.parametrize(
    ("name", "values", "complaint"),
    [
        (
            "test_attribute",
            np.zeros(3, np.int64),
            "test: expected values of the attribute in int64",
        ),
        ("test_attribute", np.full(360, 3), "values of the attribute below 3: 3 to 3"),
        ("calib_attribute", np.full(360, -1), "calib: expected values of the attribute below 3"),
        ("calib_attribute", np.zeros(360), "calib: expected values of the attribute in int64"),
    ],
)
def test_damaged_groups_are_refused_in_a_line(tmp_path, name, values, complaint):
    file = tmp_path / "predictions.npz"
    save(predictions(), file)
    with np.load(file) as stored:
        arrays = dict(stored) | {name: values}
    np.savez(file, **arrays)

    with pytest.raises(DataError, match=complaint):
        load(file)


# --- from a table to the pages


def test_values_are_numbered_in_their_order_and_empty_ones_are_a_value():
    texts = ["b", "", "a", "b", "", "b"]
    letters, numbers = Attribute.of("camera", texts), Attribute.of("age", ["10", "9", "", "10"])

    assert letters.values == ("empty", "a", "b")
    assert letters.ids.tolist() == [2, 0, 1, 2, 0, 2]
    assert numbers.values == ("9", "10", "empty")
    assert Attribute.of("x", ["empty", "", ""]).values == ("empty_", "empty")


def test_a_column_that_tells_every_image_apart_is_no_attribute():
    with pytest.raises(DataError, match=r"many images share .* got id with 3 values for 3 images"):
        Attribute.of("id", ["1", "2", "3"])


def test_an_attribute_of_other_images_is_refused():
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    labels = torch.tensor([0, 1])
    three = Attribute.of("camera", ["a", "a", "b"])

    with pytest.raises(DataError, match="a value of camera for each of 2 images"):
        ImageSet(images, labels, ("x", "y"), attribute=three)
    with pytest.raises(DataError, match=r"expected attribute as Attribute\.of"):
        check_attribute(["a", "b"], 2)
    with pytest.raises(DataError, match="expected values of camera from 0 to 0"):
        check_attribute(Attribute("camera", ("a",), torch.tensor([0, 1])), 2)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A table of 400 dark and light photographs by two cameras, of which one is noisy."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    lines = ["path,label,camera,patient"]
    for k in range(400):
        light, is_noisy = k % 2, k % 8 >= 5
        pixels = 60 + 40 * light + rng.normal(size=(8, 8, 3)) * (20 + 180 * is_noisy)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / f"{k}.png")
        lines.append(
            f"{k}.png,{'light' if light else 'dark'},{'phone' if is_noisy else ''},p{k % 90}"
        )
    (root / "labels.csv").write_text("\n".join(lines))
    return root


def test_a_table_gives_the_attribute_and_keeps_groups_apart_from_it(photographs):
    data = table(root=str(photographs / "labels.csv"), size=8, attribute="camera")
    plain = table(root=str(photographs / "labels.csv"), size=8)

    assert data.attribute.name == "camera"
    assert data.attribute.values == ("empty", "phone")
    assert data.attribute.ids.tolist() == [int(k % 8 >= 5) for k in range(400)]
    assert "attribute from column camera" in data.listing.notes["read"]
    assert plain.attribute is None
    assert torch.equal(data.groups, plain.groups)
    with pytest.raises(DataError, match=r"data\.attribute=skin: no such column"):
        table(root=str(photographs / "labels.csv"), attribute="skin")


@pytest.mark.parametrize("by_split", [False, True])
def test_features_have_an_attribute_by_the_name_of_an_array(tmp_path, by_split):
    rng = np.random.default_rng(0)
    values = np.array(["a", "b", "a", "c", "a", "b"])
    vectors, labels = rng.normal(size=(6, 4)).astype(np.float32), np.arange(6) % 2
    arrays = {"features": vectors, "labels": labels, "hospital": values}
    if by_split:
        arrays = {
            f"{name}_{split}": rows[part]
            for name, rows in arrays.items()
            for split, part in (("train", slice(4)), ("test", slice(4, 6)))
        }
    file = tmp_path / "vectors.npz"
    np.savez(file, **arrays)
    read = partial(features, root=str(file))

    data = read(attribute="hospital")
    assert [data.attribute.values[i] for i in data.attribute.ids] == values.tolist()
    assert read().attribute is None
    with pytest.raises(DataError, match=r"expected data\.attribute as an array of .*, got ward"):
        read(attribute="ward")
    with pytest.raises(DataError, match=r"with a value for each of \d rows"):
        read(attribute="features_train" if by_split else "features")


def test_a_run_on_a_table_has_scores_of_its_groups_and_shows_them(config, photographs):
    base = (
        *("data=table", f"data.root={photographs}/labels.csv", "data.size=original"),
        *("model=linear", "epochs=3", "batch_size=32", "optimizer.lr=0.01", "machine.offline=true"),
    )
    asked = config("data.attribute=camera", base=base)
    metrics = run(asked)["metrics"]
    plain = run(config(base=base))["metrics"]
    folder = run_folder(asked)

    assert plain.items() <= metrics.items()
    assert metrics["test_group/empty/n"] + metrics["test_group/phone/n"] == 80
    assert metrics["test/worst_group_top1"] == metrics["test_group/phone/top1"]
    assert metrics["test_group/phone/top1"] < metrics["test_group/empty/top1"]
    again = rescore(folder)
    assert (again.added, again.changed, again.rounded, again.retired) == ([], [], [], [])
    shown = subgroup_table(load_run(folder / RESULT))
    assert [row[0] for row in shown.rows] == ["empty", "phone"]
    assert "The worst of several is bad by chance too" in " ".join(shown.notes)
    with np.load(folder / "predictions.npz") as stored:
        of_image = stored["test_id"] % 8 >= 5
        assert np.array_equal(stored["test_attribute"], of_image.astype(int))
