"""Soft labels are distributions: each number against hard labels in proportion, and simulation."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad, minimize_scalar
from scipy.spatial.distance import cityblock
from scipy.special import softmax as probabilities
from scipy.stats import bootstrap, entropy, pearsonr, sem

from xent_bench.calibrators import isotonic, vector_scaling
from xent_bench.calibrators.temperature import fit_temperature, scale
from xent_bench.config.identity import run_folder
from xent_bench.data.image_set import ImageSet
from xent_bench.evaluation.draw import draw_pictures
from xent_bench.evaluation.evaluate import evaluate
from xent_bench.evaluation.rescore import rescore
from xent_bench.evaluation.scorecard import scorecard
from xent_bench.links import margin, simplex, softmax
from xent_bench.metrics.calibration import squared_error
from xent_bench.metrics.examples import among_largest, examine
from xent_bench.metrics.ranked import rank
from xent_bench.metrics.reliability import confusion_matrix, reliability, top_confusions
from xent_bench.metrics.score import score, summary
from xent_bench.metrics.uncertainty import null_band, standard_errors, verdict
from xent_bench.runs.files import RESULT
from xent_bench.runs.predictions import Predicted, Predictions, load, predicted, save
from xent_bench.runs.result import load_run
from xent_bench.training.run import run

TENTHS = 10  # copies of an image that a row of tenths stands for


def in_tenths(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outputs, and soft labels in tenths: 0.6 stands for 6 copies of 10 with that class."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, classes))
    counts = np.stack([rng.multinomial(TENTHS, p) for p in probabilities(logits / 2, axis=1)])
    return logits, counts / TENTHS


def copies(logits: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ten copies of each image, with hard labels in the proportions of `rows`."""
    counts = np.rint(TENTHS * rows).astype(int)
    classes = np.tile(np.arange(rows.shape[1]), len(rows))
    return np.repeat(logits, TENTHS, axis=0), np.repeat(classes, counts.ravel())


def split(name: str, logits: np.ndarray, target: np.ndarray) -> Predicted:
    return Predicted(name, logits, target, np.arange(len(target)))


# --- soft labels are hard labels in proportion


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("decimals", [0, 12])  # with ties and without
@pytest.mark.parametrize("link", [softmax, margin])
def test_every_number_is_that_of_hard_labels_in_proportion(classes, decimals, link):
    logits, rows = in_tenths(300, classes)
    logits = logits.round(decimals)
    soft, hard = score(logits, rows, link), score(*copies(logits, rows), link)

    of_copies = {"ece_equal_mass", "ece_debiased", "brier", "eaurc"}  # these see single labels
    for key in hard.keys() - of_copies:
        assert soft[key] == pytest.approx(hard[key], abs=0.02 if key == "aurc" else 1e-9), key
    only = {"label_entropy", "top1_likeliest"}
    only |= {"kl", "total_variation", "entropy_correlation"} if link is softmax else set()
    assert soft.keys() - hard.keys() == only


def test_brier_is_that_of_hard_labels_less_the_spread_of_the_labels():
    logits, rows = in_tenths(300, 5)
    spread = (1 - np.square(rows).sum(axis=1)).mean()

    soft, hard = score(logits, rows)["brier"], score(*copies(logits, rows))["brier"]
    assert soft == pytest.approx(hard - spread, rel=1e-12)
    assert soft == pytest.approx(np.square(probabilities(logits, axis=1) - rows).sum(1).mean())


def test_one_hot_rows_are_hard_labels():
    rng = np.random.default_rng(0)
    logits, target = 2 * rng.normal(size=(400, 6)).round(1), rng.integers(6, size=400)
    soft, hard = (
        evaluate(
            Predictions(
                split("calib", logits[:200], labels[:200]),
                split("test", logits[200:], labels[200:]),
                partial(softmax),
                tuple("abcdef"),
            ),
            ["vector_scaling", "isotonic"],
        )
        for labels in (np.eye(6)[target], target)
    )

    for key, value in hard.metrics.items():
        if not key.endswith(("ece_debiased", "ece_low")):
            # n / (n - 1) for the whole set, not for each class
            tolerance = 0.03 if "_se/balanced" in key else 1e-6
            assert soft.metrics[key] == pytest.approx(value, rel=tolerance, abs=1e-7), key
    assert soft.metrics["test/label_entropy"] == 0
    assert soft.metrics["test/top1_likeliest"] == soft.metrics["test/top1"]
    assert soft.words == hard.words


def test_nll_is_the_entropy_of_labels_and_the_divergence():
    logits, rows = in_tenths(200, 4)
    scores = score(logits, rows)
    p = probabilities(logits, axis=1)

    assert scores["label_entropy"] == pytest.approx(entropy(rows, axis=1).mean(), rel=1e-12)
    assert scores["kl"] == pytest.approx(entropy(rows, p, axis=1).mean(), rel=1e-12)
    assert scores["nll"] == pytest.approx(scores["label_entropy"] + scores["kl"], rel=1e-12)


def test_distances_from_the_votes_are_those_of_scipy():
    logits, rows = in_tenths(400, 5)
    examples = examine(logits, rows, softmax)
    scores, p = summary(examples), probabilities(logits, axis=1)
    halves = [cityblock(p_i, q_i) / 2 for p_i, q_i in zip(p, rows, strict=True)]
    entropies = entropy(p, axis=1), entropy(rows, axis=1)

    assert scores["total_variation"] == pytest.approx(np.mean(halves), rel=1e-12)
    assert scores["entropy_correlation"] == pytest.approx(pearsonr(*entropies)[0], rel=1e-12)
    errors = standard_errors(examples)
    assert errors["total_variation"] == pytest.approx(sem(halves), rel=1e-12)
    paired = bootstrap(
        entropies, lambda x, y: pearsonr(x, y)[0], paired=True, vectorized=False, n_resamples=500
    )
    assert errors["entropy_correlation"] == pytest.approx(paired.standard_error, rel=0.15)


def test_entropies_correlate_only_where_both_vary():
    logits, rows = in_tenths(50, 4)

    assert "entropy_correlation" not in score(logits, np.eye(4)[rows.argmax(axis=1)])
    assert "entropy_correlation" not in score(np.ones((50, 4)), rows)
    assert "entropy_correlation" not in standard_errors(examine(np.ones((50, 4)), rows, softmax))
    assert score(np.log(rows.clip(1e-9)), rows)["entropy_correlation"] == pytest.approx(1, abs=1e-6)
    assert score(np.log(rows.clip(1e-9)), rows)["total_variation"] == pytest.approx(0, abs=1e-6)


def test_a_class_of_probability_zero_costs_only_where_the_label_has_it():
    log_p = np.array([[0.0, -np.inf], [0.0, -np.inf]])

    assert score(log_p, np.array([[1.0, 0.0]] * 2))["nll"] == 0
    assert score(log_p, np.array([[1.0, 0.0], [0.9, 0.1]]))["nll"] == np.inf
    assert score(log_p, np.array([[1.0, 0.0], [0.9, 0.1]]))["kl"] == np.inf


def test_an_answer_is_worth_its_q_and_tied_ones_their_mean():
    rows = np.array([[0.5, 0.3, 0.2, 0, 0, 0]])
    outputs = np.array([[1.0, 3.0, 3.0, 0.0, 0.0, -1.0]])
    scores = score(outputs, rows)

    assert scores["top1"] == pytest.approx(0.25)
    assert scores["top5"] == pytest.approx(1.0)
    assert scores["top1_likeliest"] == 0
    assert score(np.array([[1.0, 0, 0, 0, 0, 0]]), rows)["top1_likeliest"] == 1
    assert score(np.zeros((1, 6)), rows)["top5"] == pytest.approx(5 / 6)


def test_places_among_the_largest_add_up():
    values = np.random.default_rng(0).integers(4, size=(200, 7)).astype(float)

    for k in (1, 3, 7):
        assert among_largest(values, k).sum(axis=1) == pytest.approx(k)


def test_rows_that_are_a_little_off_are_normalised():
    logits, rows = in_tenths(100, 4)

    assert score(logits, 1.00009 * rows) == pytest.approx(score(logits, rows), abs=1e-12)
    assert score(logits, rows.astype(np.float32)) == pytest.approx(score(logits, rows), abs=1e-6)


@pytest.mark.parametrize("rows", [-np.ones((2, 3)), np.zeros((2, 3))])
def test_rows_that_do_not_fit_are_refused(rows):
    with pytest.raises(ValueError, match=r"expected soft targets of shape \(2, 3\)"):
        score(np.zeros((2, 3)), rows)


def test_blocks_of_rows_change_nothing(monkeypatch):
    logits, rows = in_tenths(300, 6)
    whole = score(logits, rows)
    errors = standard_errors(examine(logits, rows, softmax))
    monkeypatch.setattr("xent_bench.metrics.examples.BLOCK", 70)

    assert score(logits, rows) == pytest.approx(whole, rel=1e-11, abs=1e-12)
    assert standard_errors(examine(logits, rows, softmax)) == pytest.approx(errors, rel=1e-9)


def test_confusions_are_sums_of_rows():
    logits, rows = in_tenths(200, 4)
    matrix = confusion_matrix(examine(logits, rows, softmax), 4)
    hard = confusion_matrix(examine(*copies(logits, rows), softmax), 4)

    np.testing.assert_allclose(TENTHS * matrix, hard, atol=1e-9)
    assert [c[:2] for c in top_confusions(matrix, 3)] == [c[:2] for c in top_confusions(hard, 3)]


def test_a_diagram_shows_the_mean_q_of_the_answer():
    logits, rows = in_tenths(300, 4)
    soft = reliability(examine(logits, rows, softmax).ranked)
    hard = reliability(examine(*copies(logits, rows), softmax).ranked)

    np.testing.assert_allclose(soft.accuracy, hard.accuracy)
    np.testing.assert_allclose(soft.confidence, hard.confidence)


def test_standard_errors_are_the_spread_over_fresh_images():
    rng = np.random.default_rng(0)
    logits, rows = in_tenths(20_000, 6)
    logits[:, 0] += 1

    def fresh():
        places = rng.integers(len(rows), size=500)
        return examine(logits[places], rows[places], softmax)

    scores = [summary(fresh()) for _ in range(300)]
    claimed = [standard_errors(fresh()) for _ in range(10)]
    for key in claimed[0].keys() - {"ties"}:
        spread = np.std([scored[key] for scored in scores])
        mean = np.mean([errors[key] for errors in claimed])
        assert mean == pytest.approx(spread, rel=0.25), key


# as a4e4da7 computed them, which knew soft labels in training alone
HARD = {
    "test/nll": 1.8040982175979603,
    "test/brier": 0.7091527685778332,
    "test/balanced_top1": 0.5009361896876547,
    "test/ece": 0.232067726186046,
    "test/ece_classwise": 0.06385398723981844,
    "test/ece_debiased": 0.23495106128254628,
    "test/eaurc": 0.19380098853294309,
    "test_se/balanced_top1": 0.027205528324108507,
    "test_se/ece_debiased": 0.027114960266120897,
    "test_se/eaurc": 0.023333934917869285,
    "test_null/ece_low": 0.03156923665476502,
    "test_ts/temperature": 1.9372867787055503,
    "test_ts_se/temperature": 0.10366859718348886,
    "test_vs/nll": 1.4419272200816509,
    "test_iso/nll": 1.5856341629725228,
}


def test_no_number_of_hard_labels_moved():
    rng = np.random.default_rng(369)
    splits = []
    for name in ("calib", "test"):
        logits = 4 * rng.normal(size=(359, 10)).astype(np.float32)
        target = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1)
        splits.append(split(name, logits, target))
    given = Predictions(*splits, partial(softmax), tuple("0123456789"))
    metrics = evaluate(given, ["vector_scaling", "isotonic"]).metrics

    assert {key: metrics[key] for key in HARD} == pytest.approx(HARD, rel=1e-9)
    assert not {"label_entropy", "kl", "top1_likeliest"} & {key.split("/")[1] for key in metrics}


# --- calibrators


@pytest.mark.parametrize("link", [softmax, simplex, margin])
def test_the_temperature_is_that_of_hard_labels_in_proportion(link):
    logits, rows = in_tenths(300, 5)
    soft = fit_temperature(split("calib", logits, rows), link)
    hard = fit_temperature(split("calib", *copies(logits, rows)), link)

    def nll(t: float) -> float:
        return float(-(rows * scale(logits, link=link, temperature=t)).sum(axis=1).mean())

    assert soft.value == pytest.approx(hard.value, rel=1e-9)
    oracle = minimize_scalar(nll, bounds=(0.05, 20), options={"xatol": 1e-10})
    assert soft.value == pytest.approx(oracle.x, rel=1e-5)
    assert soft.error is not None


def test_the_error_of_the_temperature_is_its_spread_over_calib_splits():
    fits = [fit_temperature(split("calib", *in_tenths(400, 5, k)), softmax) for k in range(150)]
    values = np.array([fit.value for fit in fits])

    spread = values.std() / values.mean()
    assert np.mean([fit.error for fit in fits]) == pytest.approx(spread, rel=0.25)


def test_labels_that_are_the_posterior_tell_the_temperature_exactly():
    logits, _ = in_tenths(100, 5)
    fit = fit_temperature(split("calib", 3 * logits, probabilities(logits, axis=1)), softmax)

    assert fit.value == pytest.approx(3, rel=1e-9)
    assert fit.error == pytest.approx(0, abs=1e-9)


def test_vector_scaling_and_isotonic_fit_the_rows():
    logits, rows = in_tenths(400, 4)
    calib = split("calib", logits, rows)
    fitted = vector_scaling.fit(calib, softmax)
    t = fit_temperature(calib, softmax).value

    def objective(x: np.ndarray) -> float:
        log_p = vector_scaling.scale(logits, link=softmax, weight=np.exp(x[:4]) / t, bias=x[4:])
        return float(-(rows * log_p).sum() + x @ x / 2)

    at = np.concatenate([np.log(t * fitted.keywords["weight"]), fitted.keywords["bias"]])
    assert check_grad(objective, np.zeros_like, at) < 0.05
    # copies: the same weighted regression, whose limits are those of ten times the images
    mapped = [
        isotonic.fit(split("calib", *pair), softmax)(logits)
        for pair in ((logits, rows), copies(logits, rows))
    ]
    assert np.abs(np.exp(mapped[0]) - np.exp(mapped[1])).max() < 0.01


# --- verdicts


def beta_labels(confidence: np.ndarray, weight: float, rng: np.random.Generator) -> np.ndarray:
    """q of the answer: beta distributed around the confidence, weight 0 for drawn labels."""
    if weight == 0:
        return (rng.random(len(confidence)) < confidence) * 1.0
    return rng.beta(weight * confidence, weight * (1 - confidence))


@pytest.mark.parametrize("weight", [0, 0.3, 2, 50])
def test_a_calibrated_net_is_within_noise_in_at_least_95_of_100_sets(weight):
    rng = np.random.default_rng(0)
    confidence = np.sort(rng.uniform(0.4, 0.99, 300))
    band = null_band(rank(confidence, confidence, soft=True))
    sets, alarms = 1500, 0
    for _ in range(sets):
        ranked = rank(confidence, beta_labels(confidence, weight, rng), soft=True)
        alarms += verdict(ranked, band) != "within noise"

    assert alarms / sets <= 0.05 + 3 * (0.05 * 0.95 / sets) ** 0.5


@pytest.mark.parametrize(
    ("power", "expected"), [(1, "within noise"), (1.6, "over-confident"), (0.6, "under-confident")]
)
def test_the_verdict_tells_in_which_direction_confidence_errs(power, expected):
    logits, _ = in_tenths(800, 5)
    ranked = examine(power * logits, probabilities(logits, axis=1), softmax).ranked

    assert verdict(ranked, null_band(ranked)) == expected


def test_the_band_of_soft_labels_begins_at_nothing():
    confidence = np.linspace(0.3, 0.9, 100)
    soft, hard = (null_band(rank(confidence, confidence, soft=s)) for s in (True, False))

    assert soft == hard._replace(ece_low=0.0)
    assert hard.ece_low > 0


@pytest.mark.parametrize("weight", [0.3, 5])
def test_the_debiased_error_of_soft_labels_is_unbiased(weight):
    rng = np.random.default_rng(0)
    true = np.repeat(np.linspace(0.5, 0.9, 15), 20)  # one confidence a bin
    squares = [
        squared_error(rank(true + 0.05, beta_labels(true, weight, rng), soft=True))
        for _ in range(3000)
    ]

    assert abs(np.mean(squares) - 0.05**2) < 4 * np.std(squares) / len(squares) ** 0.5


# --- end to end


def two_kinds(*, n: int = 1000) -> ImageSet:
    """Dark and light images of two classes, and their p(y|x) as labels."""
    rng = torch.Generator().manual_seed(0)
    light = torch.arange(n) % 2
    shades = 64 + 128 * light[:, None, None, None] + torch.randint(20, (n, 1, 4, 4), generator=rng)
    rows = torch.tensor([[0.6, 0.4], [0.3, 0.7]])[light]
    return ImageSet(shades.to(torch.uint8), rows, ("one", "other"))


@pytest.fixture
def soft_run(config, tmp_path):
    """The folder of a finished run on soft labels."""
    file = tmp_path / "conf" / "data" / "two_kinds.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("_target_: test_soft_labels.two_kinds\nn: 1000\n")
    asked = config(
        base=(
            *("data=two_kinds", "loss=ce", "model=linear", "epochs=10", "optimizer.lr=0.01"),
            *("calibrator=isotonic", f"hydra.searchpath=[file://{tmp_path}/conf]"),
        )
    )
    run(asked)
    return run_folder(asked)


def test_a_net_that_learns_soft_labels_is_found_calibrated(soft_run):
    result = json.loads((soft_run / RESULT).read_text())
    metrics = result["metrics"]

    assert 0.95 < metrics["test_ts/temperature"] < 1.05
    assert metrics["test_ts/temperature_at_bound"] == 0
    assert {result["tags"][f"{prefix}_verdict"] for prefix in ("test", "test_ts")} == {
        "within noise"
    }
    assert metrics["test/top1"] == pytest.approx(0.65, abs=0.01)
    assert metrics["test/top1_likeliest"] == 1
    assert metrics["test/ece"] < 0.02
    assert 0 <= metrics["test/kl"] < 0.002
    assert metrics["val/label_entropy"] == pytest.approx(0.642, abs=0.01)
    assert "test/true_kl" not in metrics
    again = rescore(soft_run)
    assert (again.added, again.changed, again.rounded) == ([], [], [])
    with np.load(soft_run / "predictions.npz") as stored:
        for name in ("calib_target", "test_target"):
            assert stored[name].dtype == np.float32
            assert stored[name].shape[1] == 2
        assert "test_posterior" not in stored
    notes = " ".join(scorecard(load_run(soft_run / RESULT)).notes)
    assert "an ECE of at most" in notes
    assert "Labels are distributions q" in notes


def test_soft_predictions_come_back_and_are_drawn(tmp_path):
    logits, rows = in_tenths(60, 3)
    parts = (predicted(name, logits, rows, np.arange(60)[::-1]) for name in ("calib", "test"))
    saved = Predictions(*parts, partial(softmax), ("cat", "dog", "panda"), rows)
    save(saved, tmp_path / "predictions.npz")
    loaded = load(tmp_path / "predictions.npz")

    assert np.array_equal(loaded.test.target, rows[::-1])
    assert np.array_equal(loaded.posterior, rows)
    params = {"loss": "ce", "data": "mine", "model": "cnn", "seed": 0}
    assert len(draw_pictures(evaluate(loaded), loaded.classes, params, tmp_path / "p")) == 3


@pytest.mark.parametrize(
    ("name", "edit", "complaint"),
    [
        ("test_target", lambda x: 2 * x, "test: soft targets: expected rows of at least 0"),
        ("test_target", lambda x: x[:, 1:], "test: soft targets: expected float of shape"),
        ("test_posterior", lambda x: x[1:], "test_posterior: expected float of shape"),
        ("test_posterior", lambda x: -x, "test_posterior: expected rows of at least 0"),
    ],
)
def test_rows_that_cannot_be_read_get_one_line(tmp_path, name, edit, complaint):
    logits, rows = in_tenths(60, 3)
    parts = (predicted(split, logits, rows, np.arange(60)) for split in ("calib", "test"))
    file = tmp_path / "predictions.npz"
    save(Predictions(*parts, partial(softmax), ("cat", "dog", "panda"), rows), file)
    with np.load(file) as stored:
        arrays = {key: edit(value) if key == name else value for key, value in stored.items()}
    np.savez(file, **arrays)

    with pytest.raises(ValueError, match=complaint):
        load(file)
