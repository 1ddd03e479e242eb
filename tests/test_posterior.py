"""Synthetic images have a known posterior p(y|x): scores against it, and labels equal to it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import softmax as probabilities
from scipy.stats import entropy
from test_soft_labels import split

from xent_bench.config.identity import run_folder, run_key
from xent_bench.data.synthetic import posterior, synthetic
from xent_bench.evaluation.evaluate import evaluate
from xent_bench.evaluation.rescore import rescore
from xent_bench.failures import DataError
from xent_bench.links import margin, softmax
from xent_bench.metrics.calibration import ece
from xent_bench.metrics.ranked import rank
from xent_bench.runs.predictions import Predictions, load
from xent_bench.training.run import run


def test_the_posterior_as_outputs_is_nothing_away_from_the_truth():
    options = {"n": 1000, "classes": 5, "noise": 6.0}
    p = posterior(synthetic(**options).images, **options).numpy()
    rng = np.random.default_rng(0)
    drawn = np.minimum((rng.random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1), 4)
    for labels in (p, drawn):
        parts = split("calib", np.log(p), labels), split("test", np.log(p), labels)
        predictions = Predictions(*parts, partial(softmax), tuple("abcde"), p)
        metrics, words, *_ = evaluate(predictions)

        for key in ("true_kl", "true_ece", "excess_risk"):
            assert metrics[f"test/{key}"] == pytest.approx(0, abs=1e-12), key
        assert words["test_verdict"] == "within noise"
        assert words["test_ts_verdict"] == "within noise"
    sharper = evaluate(Predictions(*parts, partial(softmax), tuple("abcde"), p**2))
    assert sharper.metrics["test/true_kl"] > 0


def test_the_truth_is_reported_by_its_definition():
    rng = np.random.default_rng(0)
    p, logits = rng.dirichlet(np.ones(4), size=300), rng.normal(size=(300, 4))
    target = rng.integers(4, size=300)
    parts = split("calib", logits, target), split("test", logits, target)
    metrics = evaluate(Predictions(*parts, partial(softmax), tuple("abcd"), p)).metrics
    q, answer = probabilities(logits, axis=1), logits.argmax(axis=1)
    right = p[np.arange(300), answer]

    assert metrics["test/true_kl"] == pytest.approx(entropy(p, q, axis=1).mean(), rel=1e-9)
    assert metrics["test/true_ece"] == pytest.approx(ece(rank(q.max(axis=1), right)), rel=1e-9)
    assert metrics["test/excess_risk"] == pytest.approx((p.max(axis=1) - right).mean(), rel=1e-9)
    assert metrics["test_ts/excess_risk"] == metrics["test/excess_risk"]
    hinge = evaluate(Predictions(*parts, partial(margin), tuple("abcd"), p)).metrics
    assert "test/true_kl" not in hinge
    assert {"test/excess_risk", "test_ts/true_kl", "test_ts/true_ece"} <= hinge.keys()


@pytest.mark.parametrize("labels", ["drawn", "posterior"])
def test_runs_on_synthetic_data_report_the_truth_and_rescore_it(config, labels):
    asked = config(f"data.labels={labels}", "data.noise=6", "calibrator=isotonic")
    metrics, folder = run(asked)["metrics"], run_folder(asked)

    for prefix in ("test", "test_ts", "test_iso"):
        assert {f"{prefix}/{key}" for key in ("true_kl", "true_ece", "excess_risk")} <= set(metrics)
    stored = load(folder / "predictions.npz")
    options = {"n": 600, "classes": 10, "noise": 6.0}
    truth = posterior(synthetic(**options).images[stored.test.id], **options).numpy()
    assert np.array_equal(stored.posterior, truth)
    assert stored.test.target.ndim == (2 if labels == "posterior" else 1)
    again = rescore(folder)
    assert (again.added, again.changed, again.rounded) == ([], [], [])
    if labels == "posterior":
        assert np.array_equal(stored.test.target, truth)
        assert metrics["test/true_kl"] == metrics["test/kl"]
        assert metrics["test/true_ece"] == metrics["test/ece"]


def test_drawn_labels_name_no_run_and_posterior_ones_do(composed):
    old = composed("data=synthetic", "~data.labels")

    assert run_key(composed("data=synthetic")) == run_key(old) == "05cb97f54e"
    assert run_key(composed("data=synthetic", "data.labels=posterior")) != run_key(old)
    other = ("data=synthetic", "data._target_=mine.synthetic")
    assert run_key(composed(*other)) != run_key(composed(*other, "~data.labels"))


def test_posterior_labels_are_of_the_same_images():
    drawn, soft = (synthetic(n=100, labels=labels) for labels in ("drawn", "posterior"))

    assert torch.equal(drawn.images, soft.images)
    assert torch.equal(soft.labels, drawn.posterior(torch.arange(100)))
    assert soft.class_counts(torch.arange(100)).sum().item() == pytest.approx(100)
    assert drawn.class_counts(torch.arange(50)).tolist() == [5] * 10


def test_a_report_tells_the_truth_and_the_floor_of_nll(config, capsys):
    from xent_bench.commands.report import main
    from xent_bench.comparison.compare import compare
    from xent_bench.report.page import page
    from xent_bench.runs.result import load_runs

    for seed in (0, 1):
        asked = config("data.labels=posterior", "data.noise=6", f"seed={seed}")
        run(asked)
    folder = run_folder(asked).parent
    main([str(folder)])
    shown = capsys.readouterr().out

    assert "Against the truth" in shown
    assert "Labels are distributions q" in shown
    text = page(compare(load_runs(folder)))
    assert ">Against the truth</h3>" in text
    assert "cannot be less than their entropy" in text


@pytest.mark.parametrize("columns", [3, 11])
def test_a_posterior_of_another_shape_is_refused_before_training(columns):
    data = synthetic(n=50)
    strange = replace(data, posterior=lambda ids: torch.full((len(ids), columns), 1 / columns))

    with pytest.raises(DataError, match="expected soft labels of shape"):
        strange.true_posterior(torch.arange(5))
