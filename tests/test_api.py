"""The functions of `import xent_bench as xb`: what they give, and what they refuse."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from matplotlib import pyplot
from pandas.testing import assert_series_equal
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from torch.nn import functional as F
from written_run import edit, write_run

import xent_bench as xb
from xent_bench.commands.report import main as report_main
from xent_bench.config.schema import CONF
from xent_bench.runs.result import load_run

HEAVY = ("torch", "numpy", "scipy", "pandas", "matplotlib", "mlflow", "sklearn", "hydra", "plotly")


@pytest.fixture
def logits(rng) -> torch.Tensor:
    return 2 * torch.randn(60, 6, generator=rng, dtype=torch.float64)


@pytest.fixture
def target(rng) -> torch.Tensor:
    return torch.randint(6, (60,), generator=rng)


def test_the_import_brings_in_nothing_heavy():
    """What is imported decides how long it takes, on any machine."""
    script = "import sys, xent_bench; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    shown = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert "xent_bench" in shown
    assert not {*HEAVY} & {*shown}
    assert {name for name in shown if name not in sys.stdlib_module_names} <= {
        "xent_bench",
        "__main__",
    }


def test_every_name_of_the_surface_is_there_and_documented():
    packages = {file.stem for file in (ROOT / "xent_bench").iterdir()}

    for name in xb.__all__:
        assert getattr(xb, name).__doc__.strip(), name
        assert name in dir(xb)
        assert name not in packages, f"{name} would hide a package of that name"
    with pytest.raises(AttributeError, match="has no attribute 'scores'"):
        _ = xb.scores


def test_the_page_names_the_whole_surface():
    page = (ROOT / "xent_bench/README.md").read_text()

    assert [name for name in xb.__all__ if name[0].islower() and f"xb.{name}" not in page] == []


def test_a_loss_is_the_function_with_its_hyper_parameters(logits, target):
    log_p = F.log_softmax(logits, dim=1)[range(60), target]
    logits.requires_grad_()
    xb.loss("focal", gamma=3)(logits, target).mean().backward()

    torch.testing.assert_close(
        xb.loss("focal", gamma=3)(logits, target), -((1 - log_p.exp()) ** 3) * log_p
    )
    torch.testing.assert_close(xb.loss("sparse_ce")(logits, target), -log_p)
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


def test_a_loss_encodes_classes_and_takes_soft_labels_where_it_can(logits, target):
    soft = F.one_hot(target, 6).double()
    mixed = 0.7 * soft + 0.3 / 6

    torch.testing.assert_close(xb.loss("ce")(logits, target), xb.loss("ce")(logits, soft))
    torch.testing.assert_close(
        xb.loss("ce")(logits, mixed), -(mixed * F.log_softmax(logits, dim=1)).sum(dim=1)
    )
    with pytest.raises(ValueError, match="focal takes the index of the true class"):
        xb.loss("focal")(logits, soft)


@pytest.mark.parametrize(
    ("name", "labels", "complaint"),
    [
        ("sparse_ce", [0, 1, -100], "target: expected classes from 0 to 5, got -100 to 1"),
        ("ce", [0, 1, 6], "target: expected classes from 0 to 5, got 0 to 6"),
        ("ce", [[1.0] * 6] * 3, "target: expected soft labels, rows of at least 0 that sum to 1"),
        ("kl", [[2.0, -1, 0, 0, 0, 0]] * 3, "got sums from 1 to 1 and values from -1"),
        ("ce", [[float("nan")] * 6] * 3, "target: expected soft labels"),
        ("ldam", [0, 1, 2], "outputs: expected 2 classes, one for each of class_counts, got 6"),
    ],
)
def test_labels_that_a_loss_cannot_have_are_refused_in_one_line(name, labels, complaint):
    criterion = xb.loss(name, **({"class_counts": [3, 4]} if name == "ldam" else {}))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refusal:
        criterion(torch.zeros(3, 6), torch.tensor(labels))

    assert complaint in str(refusal.value)


def test_a_loss_takes_tensors_alone_and_says_so():
    for outputs, labels in (([[1.0, 2.0]], torch.tensor([0])), (torch.zeros(1, 2), np.array([0]))):
        with pytest.raises(ValueError, match="expected a tensor of PyTorch, got"):
            xb.loss("ce")(outputs, labels)


def test_losses_are_listed_and_say_what_they_are():
    loss = xb.loss("logit_norm", tau=0.1)

    assert xb.loss_names() == sorted(file.stem for file in (CONF / "loss").glob("*.yaml"))
    assert (loss.name, loss.parameters, loss.link_name) == (
        "logit_norm",
        {"tau": 0.1},
        "normalised_softmax",
    )
    assert repr(loss).startswith("xent_bench.loss('logit_norm', tau=0.1)  # -log softmax(")


def test_a_loss_for_uneven_classes_takes_their_sizes(logits, target):
    counts = torch.tensor([1.0, 2, 3, 4, 5, 6])
    expected = F.cross_entropy(logits + counts.log(), target, reduction="none")

    torch.testing.assert_close(
        xb.loss("balanced_softmax", class_counts=[1, 2, 3, 4, 5, 6])(logits, target),
        expected,
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("name", "hyper_parameters", "complaint"),
    [
        ("focl", {}, "focl: no such loss; did you mean focal?"),
        ("focal", {"gama": 1}, "loss.gama: no such key; did you mean loss.gamma?"),
        ("focal", {"gamma": -1}, "loss.gamma: should be greater than or equal to 0, got -1"),
        ("focal", {"gamma": float("nan")}, "loss.gamma"),
        ("balanced_softmax", {}, "loss.class_counts: has to be given"),
        ("ce", {"class_counts": [1, 2]}, "loss.class_counts: no key of ce"),
        ("ldam", {"class_counts": [1, 0]}, "loss.class_counts: expected a number above 0"),
    ],
)
def test_a_bad_loss_is_refused_in_one_line(name, hyper_parameters, complaint):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refusal:
        xb.loss(name, **hyper_parameters)

    assert complaint in str(refusal.value)


def test_scores_are_those_of_the_formulas(logits, target):
    scores = xb.score(logits, target)
    z, y = logits.numpy(), target.numpy()

    assert scores["nll"] == pytest.approx(-log_softmax(z, axis=1)[np.arange(60), y].mean())
    assert scores["top1"] == pytest.approx((z.argmax(axis=1) == y).mean())
    assert scores["brier"] == pytest.approx(
        np.square(softmax(z, axis=1) - np.eye(6)[y]).sum(axis=1).mean()
    )
    assert next(iter(scores)) == "top1"


def test_scores_do_not_depend_on_how_numbers_are_held(logits, target):
    expected = xb.score(logits, target)
    with_gradient = logits.clone().requires_grad_()

    for outputs, labels in (
        (with_gradient, target.int()),
        (logits.numpy(), target.numpy().astype(np.uint8)),
        (logits.tolist(), target.tolist()),
        (list(logits), list(target.numpy())),
    ):
        assert xb.score(outputs, labels) == expected
    half = xb.score(logits.bfloat16(), target)
    assert half["nll"] == pytest.approx(expected["nll"], rel=0.01)


def test_probabilities_are_scored_as_the_logits_they_come_from(logits, target):
    p = logits.softmax(dim=1)
    expected = xb.score(logits, target)

    assert xb.score(p, target, link="probabilities") == pytest.approx(expected)
    assert xb.score(p.log(), target, link="log_probabilities") == pytest.approx(expected)
    zero = xb.score([[1.0, 0.0], [0.5, 0.5]], [1, 0], link="probabilities")
    assert zero["nll"] == np.inf


def test_soft_labels_are_scored(logits, target):
    soft = 0.8 * F.one_hot(target, 6).double() + 0.2 / 6
    scores = xb.score(logits, soft)

    assert scores["nll"] == pytest.approx(
        float(-(soft * F.log_softmax(logits, dim=1)).sum(dim=1).mean())
    )
    assert scores["kl"] == pytest.approx(scores["nll"] - scores["label_entropy"])


def test_a_link_reads_outputs_as_the_loss_means_them(logits, target):
    s = torch.sigmoid(logits)
    one_vs_rest = s / s.sum(dim=1, keepdim=True)
    expected = float(-one_vs_rest[range(60), target].log().mean())

    for link in ("sigmoid", xb.loss("bce").link):
        assert xb.score(logits, target, link=link)["nll"] == pytest.approx(expected)
    assert "nll" not in xb.score(logits, target, link="margin")


@pytest.mark.parametrize(
    ("outputs", "labels", "link", "complaint"),
    [
        ([[0.2, 0.8]], [0], "softmax", 'are probabilities; to read them so: link="probabilities"'),
        ([[2.0, 0.8]], [0], "probabilities", "expected probabilities, rows of at least 0"),
        ([[2.0, 0.8]], [0], "log_probabilities", "exp(outputs): expected probabilities"),
        ([2.0, 0.8], [0, 1], "softmax", "outputs: expected shape (n, classes)"),
        ([[2.0], [3.0]], [0, 0], "softmax", "outputs: expected shape (n, classes)"),
        (np.zeros((0, 2)), [], "softmax", "with at least one row"),
        ([[2.0, np.nan]], [0], "softmax", "NaN or infinity in row 0"),
        ([[2.0, 3.0], [1.0]], [0, 0], "softmax", "outputs: expected an array of numbers"),
        ([["a", "b"]], [0], "softmax", "outputs: expected numbers"),
        ([[2.0, 3.0]], [2], "softmax", "target: expected classes from 0 to 1, got 2 to 2"),
        ([[2.0, 3.0]], [-1], "softmax", "target: expected classes from 0 to 1"),
        ([[2.0, 3.0]], [0.5], "softmax", "target: expected classes as integers, got float64"),
        ([[2.0, 3.0]], [0, 1], "softmax", "target: expected one label for each of 1 rows"),
        ([[2.0, 3.0]], [[0.5, 0.6]], "softmax", "target: expected probabilities"),
        ([[2.0, 3.0]], [[1, 0, 0]], "softmax", "target: expected shape (1, 2), got (1, 3)"),
        ([[2.0, 3.0]], [0], "sofmax", "link: expected one of softmax, sigmoid"),
        ([[2.0, 3.0]], [0], "projection", "link: projection needs the hyper-parameter"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(outputs, labels, link, complaint):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refusal:
        xb.score(outputs, labels, link=link)

    assert complaint in str(refusal.value)


@pytest.mark.parametrize(
    ("read_as", "link", "complaint"),
    [
        (lambda p: 0.99 * p, "softmax", "look like rounded probabilities"),
        (lambda p: p.round(1), "softmax", "look like rounded probabilities"),
        (lambda p: 100 * p, "softmax", "look like rounded percentages"),
        (lambda p: (100 * p).round(), "softmax", "look like rounded percentages"),
        (lambda p: 0.99 * p, "probabilities", "got sums from 0.99 to 0.99"),
        (lambda p: 1.5 * p - 0.5 / p.shape[1], "probabilities", "and values from -0."),
        (lambda p: np.where(p == p.max(), np.nan, p), "probabilities", "got NaN in row "),
        (lambda p: np.ma.masked_less(p, p.mean()), "softmax", "expected no masked value, got "),
    ],
)
def test_probabilities_of_another_form_are_no_logits(logits, target, read_as, link, complaint):
    p = np.asarray(logits.double().softmax(dim=1))

    with pytest.raises(ValueError, match=complaint):
        xb.score(read_as(p), target, link=link)


def test_logits_between_0_and_1_are_logits_where_their_sums_are_not_1(rng):
    few_and_uneven = torch.rand(200, 6, generator=rng)

    assert xb.score(few_and_uneven, torch.arange(200) % 6)["nll"] == pytest.approx(1.8, abs=0.2)


def test_rows_of_frames_in_two_orders_are_not_paired_by_place(logits, target):
    frame, labels = pd.DataFrame(logits.numpy()), pd.Series(target.numpy())
    turned = labels[::-1]

    for refused in (xb.score, xb.fit_temperature, xb.reliability):
        with pytest.raises(ValueError, match="outputs and target: expected one index"):
            refused(frame, turned)
    assert xb.score(frame, labels) == xb.score(logits, target)
    elsewhere = labels.set_axis(labels.index + 1000)  # a part of another table: places count
    assert xb.score(frame, elsewhere) == xb.score(logits, target)


def test_columns_of_models_in_two_orders_are_refused(logits, target):
    frame = pd.DataFrame(logits.numpy(), columns=[*"abcdef"])

    with pytest.raises(ValueError, match=r"theirs, seed 0.*columns of the classes in one order"):
        xb.compare({"mine": frame, "theirs": frame[[*"bacdef"]]}, target)


def test_a_temperature_is_the_best_one_and_calibrates(logits, target):
    sharp = 4 * torch.eye(6, dtype=torch.float64)[target] + logits
    fitted = xb.fit_temperature(sharp, target)

    def nll(log_t: float) -> float:
        return float(F.cross_entropy(sharp / np.exp(log_t), target))

    assert np.log(fitted.value) == pytest.approx(minimize_scalar(nll).x, abs=1e-4)
    assert fitted.error is not None
    assert 0 < fitted.error < fitted.value
    assert not fitted.at_bound
    np.testing.assert_allclose(fitted(sharp), softmax(sharp.numpy() / fitted.value, axis=1))
    from_p = xb.fit_temperature(sharp.softmax(dim=1), target, link="probabilities")
    assert from_p.value == pytest.approx(fitted.value)
    assert xb.fit_temperature(10 * torch.eye(6)[target], target).at_bound


def test_a_temperature_is_fitted_to_probabilities_that_are_0(target):
    p = torch.eye(6)[target].double()
    p[:20] = torch.eye(6, dtype=torch.float64)[(target[:20] + 1) % 6]
    fitted = xb.fit_temperature(p, target, link="probabilities")

    assert np.isfinite(fitted.value)
    assert np.isfinite(fitted(p)).all()
    with pytest.raises(ValueError, match="expected outputs for 6 classes, got 2"):
        fitted([[0.5, 0.5]])


def test_a_reliability_diagram_has_no_state_of_pyplot(logits, target):
    figure = xb.reliability(logits, target)
    (above, _) = figure.axes

    assert "ECE" in above.get_title(loc="left")
    assert pyplot.get_fignums() == []
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_run_s_diagram_shows_both_readings_and_the_numbers_of_its_result(swept):
    folder = next(swept[0].glob("ce-*"))
    metrics = load_run(folder / "result.json").metrics
    figure = xb.reliability(folder)

    for axis, prefix in zip(figure.axes[:2], ("test", "test_ts"), strict=True):
        title = axis.get_title(loc="left")
        assert f"ECE {100 * metrics[f'{prefix}/ece']:.1f} %" in title
        assert f"(chance: to {100 * metrics[f'{prefix}_null/ece_high']:.1f})" in title
    with pytest.raises(ValueError, match="their own labels"):
        xb.reliability(folder, [0])


def test_runs_become_a_frame_with_numbers_as_numbers(swept):
    frame = xb.read_runs(swept[0])
    done = frame[frame["status"] == "done"]
    run = load_run(Path(done["folder"].iloc[0]) / "result.json")

    assert (len(frame), len(done)) == (17, 16)
    assert done["metrics.test/top1"].iloc[0] == run.metrics["test/top1"]
    assert done["params.optimizer.lr"].dtype == float
    assert done["params.seed"].dtype == "int64"
    assert done["tags.key"].iloc[0] == run.tags["key"]
    failed = frame[frame["status"] == "failed"].iloc[0]
    assert failed["reason"].startswith("Diverged")
    assert np.isnan(failed["metrics.test/top1"])


def test_a_store_gives_the_frame_of_its_folder(swept):
    folder, store = swept
    ours, theirs = (
        frame[frame["status"] == "done"].set_index("tags.key").sort_index()
        for frame in (xb.read_runs(folder), xb.read_runs(store, experiment="swept"))
    )
    shared = [name for name in ours if name.startswith(("params.", "metrics.test"))]

    assert len(shared) > 100
    for name in shared:
        assert_series_equal(ours[name], theirs[name], check_index=False)
    assert set(theirs["folder"]) == {None}
    assert list(ours["run_id"]) == list(theirs["run_id"])


def test_a_place_without_runs_gives_an_empty_frame_with_columns(tmp_path):
    frame = xb.read_runs(tmp_path)

    assert len(frame) == 0
    assert [*frame][:3] == ["name", "experiment", "status"]
    assert frame["seconds"].dtype == float
    with pytest.raises(ValueError, match="no such folder"):
        xb.read_runs(tmp_path / "nowhere")


def test_a_run_that_is_in_two_places_is_no_row_twice(tmp_path):
    write_run(tmp_path / "a", "ce", 0)
    write_run(tmp_path / "b", "ce", 1)
    shutil.copytree(tmp_path / "a", tmp_path / "c")

    assert len(xb.read_runs(tmp_path / "a", tmp_path / "b")) == 2
    for second in ("a", "c"):
        with pytest.raises(ValueError, match="the same run twice, which would count twice: ce-s0"):
            xb.read_runs(tmp_path / "a", tmp_path / second)


def test_whole_numbers_stay_whole_where_a_run_lacks_them(tmp_path):
    write_run(tmp_path, "ce", 0, epochs=3)
    write_run(tmp_path, "focal", 0)
    frame = xb.read_runs(tmp_path)

    assert frame["params.epochs"].dtype == "Int64"
    assert frame["params.epochs"].isna().sum() == 1


def test_stored_predictions_have_the_scores_of_the_result(swept):
    folder = next(swept[0].glob("square-*"))
    stored = xb.predictions(folder)
    scores = xb.score(stored.test.outputs, stored.test.target, link=stored.link)
    metrics = load_run(folder / "result.json").metrics
    fitted = xb.fit_temperature(stored.calib.outputs, stored.calib.target, link=stored.link)

    assert {f"test/{name}": value for name, value in scores.items()}.items() <= metrics.items()
    assert fitted.value == metrics["test_ts/temperature"]


def test_a_net_is_loaded_with_its_calibration(swept):
    folder = next(swept[0].glob("ce-*"))
    net = xb.load(folder)

    assert net.record.temperature == load_run(folder / "result.json").metrics["test_ts/temperature"]
    with pytest.raises(ValueError, match="nowhere"):
        xb.load("nowhere")


def test_the_report_of_a_folder_is_that_of_the_command(swept, capsys):
    report = xb.compare(swept[0])
    report_main([str(swept[0]), "--format", "csv"])
    lines = capsys.readouterr().out.splitlines()
    report_main([str(swept[0])])
    shown = " ".join(capsys.readouterr().out.split())

    assert len(report) == 1
    assert " ".join(report.conclusion.split()) in shown
    frame = report.frame()
    assert [*frame] == lines[0].split(",")
    assert len(frame) == len(lines) - 1
    assert report[0].conclusion == next(iter(report)).conclusion == report.conclusion


def test_a_place_that_is_no_folder_of_runs_is_refused_for_what_it_is(tmp_path):
    (tmp_path / "mlflow.db").touch()
    for read in (xb.compare, xb.read_runs, xb.load, xb.predictions):
        with pytest.raises(ValueError, match=r"mlflow\.db: a file; a store is sqlite:///FILE"):
            read(tmp_path / "mlflow.db")
    with pytest.raises(ValueError, match="got an empty list"):
        xb.compare([])


def test_a_report_is_drawn_and_written(swept, tmp_path):
    report = xb.compare([swept[0]])
    forest = report.forest()

    assert len(report.figure().axes) == 3
    assert [text.get_text() for text in forest.axes[0].get_yticklabels()][::-1] == [
        row.label for row in report.comparisons[0].rows if row.label in ("square", "hinge")
    ]
    assert pyplot.get_fignums() == []
    assert report.to_html(tmp_path / "report.html") == (tmp_path / "report.html").read_text()
    assert "<table>" in report._repr_html_()
    assert "Against ce" in report._repr_html_()


def test_several_settings_are_several_reports(tmp_path):
    for data in ("digits", "synthetic"):
        for seed in range(2):
            write_run(tmp_path, "ce", seed, data=data)
    report = xb.compare(tmp_path)

    assert [one.comparisons[0].setting for one in report] == [
        "digits with cnn",
        "synthetic with cnn",
    ]
    assert sorted(set(report.frame()["setting"])) == ["digits with cnn", "synthetic with cnn"]
    with pytest.raises(ValueError, match="expected one setting, got 2"):
        report.forest()
    with pytest.raises(ValueError, match="no difference to draw"):
        report[0].forest()


def test_options_are_checked_in_the_words_of_python(tmp_path):
    write_run(tmp_path, "ce", 0)

    for arguments, complaint in (
        ({"baseline": "c"}, "^baseline: expected one of ce, got c"),
        ({"primary": "nll"}, "^primary: expected one of test/top1"),
        ({"ties": {"auc": 1}}, "^ties: expected one of top1"),
        ({"target": [0]}, "^target: expected none with runs"),
    ):
        with pytest.raises(ValueError, match=complaint):
            xb.compare(tmp_path, **arguments)
    edit(next((tmp_path / "tested").iterdir()), metrics={"test/top1": "high"})
    with pytest.raises(ValueError, match="cannot read"):
        xb.read_runs(tmp_path)


def test_the_notebook_is_kept_without_outputs():
    (file,) = (ROOT / "scripts").rglob("*.ipynb")
    cells = json.loads(file.read_text())["cells"]

    assert [cell.get("outputs") for cell in cells if cell["cell_type"] == "code"] == [[]] * 6
    assert all(cell.get("execution_count") is None for cell in cells)


def test_the_notebook_runs_and_shows_its_figures(swept, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("RUNS", str(swept[0]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(ROOT / "scripts/notebooks/quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [set(output["data"]) for output in outputs if output.output_type == "execute_result"]

    assert [output for output in outputs if output.output_type in ("error", "stream")] == []
    assert sum("image/png" in kinds for kinds in shown) == 2  # forest plot, reliability diagram
    assert sum("text/html" in kinds for kinds in shown) == 2  # the report, the custom table


def test_the_code_of_the_page_runs(swept, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "quickstart").symlink_to(swept[0])
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "xent_bench/README.md").read_text()
    blocks = [block.partition("```")[0] for block in page.split("```python\n")[1:]]
    names: dict = {}
    for block in blocks:
        exec(compile(block, "xent_bench/README.md", "exec"), names)

    assert (tmp_path / "forest.png").exists()
    assert (tmp_path / "reliability.png").exists()
