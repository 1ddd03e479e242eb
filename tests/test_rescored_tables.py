"""The command xent-rescore with --classes, --costs and --all: what it prints, keeps and refuses."""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from xent_bench.commands.rescore import main
from xent_bench.evaluation.evaluate import evaluate
from xent_bench.links import softmax
from xent_bench.metrics.reported import METRICS
from xent_bench.runs.predictions import Predicted, Predictions, save
from xent_bench.runs.result import Run, load_run, save_run

COSTS = "true,cat,dog,panda\ncat,0,1,1\ndog,9,0,9\npanda,1,1,0\n"


@pytest.fixture
def runs(tmp_path) -> Path:
    """The folder of two finished runs, whose results are what their predictions give."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        logits = 2 * rng.normal(size=(300, 3)).astype(np.float32)
        target = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1)
        calib, test = (
            Predicted(name, logits[part], target[part], np.arange(150))
            for name, part in (("calib", slice(150)), ("test", slice(150, None)))
        )
        kept = Predictions(calib, test, partial(softmax), ("cat", "dog", "panda"))
        evaluation = evaluate(kept, ["structured_vector"])
        params = {"loss": "ce", "data": "pets", "model": "cnn", "seed": seed}
        folder = tmp_path / "runs" / f"ce-s{seed}"
        folder.mkdir(parents=True)
        save(kept, folder / "predictions.npz")
        metrics, words = evaluation.metrics, evaluation.words
        save_run(Run(f"ce-s{seed}", "e", params, metrics, words, "", 150, 1.0), folder)
    return tmp_path / "runs"


@pytest.fixture
def typed(monkeypatch, capsys):
    """Function that runs the command and returns its exit code, output and errors."""

    def type_words(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xent-rescore", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return type_words


def test_every_class_is_shown_and_written_and_no_number_of_the_run_is_touched(runs, typed):
    before = (runs / "ce-s0/result.json").read_bytes()
    code, output, _ = typed(runs / "ce-s0", "--classes")

    assert code == 0
    assert "ce-s0: classes" in output
    assert (runs / "ce-s0/class_scores.csv").read_text().count("\n") == 4
    assert (runs / "ce-s0/result.json").read_bytes() == before


def test_costs_are_shown_for_each_run_with_the_calibrators_that_it_has(runs, typed, tmp_path):
    (tmp_path / "costs.csv").write_text(COSTS)
    code, output, errors = typed(runs, "--costs", tmp_path / "costs.csv")

    assert (code, errors) == (0, "")
    for seed in range(2):
        assert f"ce-s{seed}: mean cost of an image of test" in output
    assert output.count("\n structured vector scaling") == 2
    assert {file.name for file in (runs / "ce-s0").iterdir()} == {"predictions.npz", "result.json"}


@pytest.mark.parametrize(
    ("text", "code", "complaint"),
    [
        (None, 3, "no file"),
        ("0,1\n1,0\n", 3, "expected 3 rows of 3 costs"),
        (COSTS.replace("dog,9", "dog,x"), 3, "row 'dog', column 'cat': expected a finite number"),
    ],
)
def test_bad_costs_get_one_line_a_run_and_an_exit_code(
    runs, typed, tmp_path, text, code, complaint
):
    file = tmp_path / "costs.csv"
    if text is not None:
        file.write_text(text)
    found, _, errors = typed(runs / "ce-s1", "--costs", file)

    assert found == code
    assert complaint in errors
    assert errors.count("\n") == 1


def test_costs_that_are_not_there_are_noticed_before_anything_is_computed(runs, typed, tmp_path):
    code, output, errors = typed(
        runs, "--costs", tmp_path / "none.csv", "--calibrator", "dirichlet"
    )

    assert (code, output) == (3, "")
    assert errors.count("\n") == 1
    assert "test_dir/nll" not in load_run(runs / "ce-s0/result.json").metrics


def test_details_are_named_and_shown_when_asked_for(runs, typed):
    details = [metric.name for metric in METRICS.values() if metric.is_detail]
    _, brief, _ = typed(runs / "ce-s0")
    _, whole, _ = typed(runs / "ce-s0", "--all")

    assert details
    for name in details:
        assert f"\n {name}" not in brief
        assert f"\n {name}" in whole
    assert "Not shown: brier_calibration, risk_at_80 and risk_at_95. --all shows them." in brief
    assert "Not shown" not in whole


def test_runs_of_before_get_what_is_new_and_keep_what_they_had(runs, typed):
    file = runs / "ce-s0/result.json"
    result = json.loads(file.read_text())
    new = ("augrc", "risk_at_", "_calibration")
    old = {k: v for k, v in result["metrics"].items() if not any(name in k for name in new)}
    del result["sha256"]
    file.write_text(json.dumps(result | {"metrics": old}))
    (runs / "ce-s0/not_in_mlflow").touch()  # as a run without a store
    code, output, _ = typed(runs / "ce-s0")
    after = load_run(file).metrics

    assert code == 0
    added = len(after) - len(old)
    assert added == 4 * 3 * 2 + 4  # three readings with errors; two parts with theirs
    assert f"{len(old)} numbers as logged, {added} added" in output
    assert {k: after[k] for k in old} == old
    assert after["test/nll_calibration"] == pytest.approx(after["test/nll"] - after["test_ts/nll"])
