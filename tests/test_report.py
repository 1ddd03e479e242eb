"""What the report prints: every number once, marked and explained, in each form."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from written_run import P, edit, write_run

from xent_bench.commands.report import main
from xent_bench.comparison.yardsticks import CHOICES, YARDSTICKS
from xent_bench.metrics.reported import METRICS
from xent_bench.runs.sweep_record import Planned, Sweep, save_sweep


def show(folder: Path, *arguments: object) -> None:
    main([str(folder), *map(str, arguments)])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_a_row_holds_mean_interval_and_n_over_seeds(tmp_path, capsys):
    for seed, shift in enumerate([0.0, 0.01, 0.02]):
        write_run(tmp_path, "ce", seed, shift)
    show(tmp_path, "--format", "csv")
    (row,) = rows_of(capsys.readouterr().out)

    assert (row["loss"], row["n"]) == ("ce", "3")
    assert float(row["test/nll"]) == pytest.approx(0.41)
    assert float(row["test/nll/half_width"]) == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-5)


def test_the_star_of_the_best_is_no_item_of_a_list_in_markdown(tmp_path, capsys):
    for seed in range(3):
        for loss, shift in (("ce", 0.1), ("focal", 0.0)):
            write_run(tmp_path, loss, seed, shift + 0.01 * seed)
    show(tmp_path, "--format", "markdown")
    (line,) = [text for text in capsys.readouterr().out.splitlines() if "or bold" in text]

    assert line.startswith(r"\* or bold: the best mean")


def test_latex_has_no_sign_that_its_fonts_print_as_another(tmp_path, capsys):
    """In text '<' is printed as an exclamation mark upside down and '|' as a dash."""
    for seed in range(3):
        for loss in ("ce", "<a|b>"):
            write_run(tmp_path, loss, seed, 0.01 * seed)
    show(tmp_path, "--format", "latex")
    shown = capsys.readouterr().out

    assert "p $<$ 0.05" in shown
    assert "$<$a$|$b$>$ & 3" in shown
    assert not set("<>|") & set(re.sub(r"\$[^$]*\$", "", shown))


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_the_table_shows_every_loss_once_within_100_columns(tmp_path, capsys, form):
    for seed in range(3):
        for loss in ("ce", "sparse_ce", "hinge"):
            write_run(tmp_path, loss, seed, 0.01 * seed)
    show(tmp_path, "--format", form)
    shown = capsys.readouterr().out
    plus_minus = r"$\pm$" if form == "latex" else "±"

    for loss in ("ce", r"sparse\_ce" if form == "latex" else "sparse_ce", "hinge"):
        lines = [line for line in shown.splitlines() if line.strip(" |").startswith(f"{loss} ")]
        assert len([line for line in lines if f"0.410{plus_minus}0.025" in line]) == 1
    assert "the raw scores of hinge are no probabilities" in one_line(shown)
    assert "359 test images; abacus" in one_line(shown)
    if form == "table":
        assert max(map(len, shown.splitlines())) <= 100


def test_a_single_seed_is_shown_without_an_interval_or_a_verdict(tmp_path, capsys):
    write_run(tmp_path, "ce", 0)
    write_run(tmp_path, "focal", 0, 0.1)
    show(tmp_path)
    shown = capsys.readouterr().out

    assert "±" not in shown
    assert "better" not in shown
    assert "With one seed a difference between losses cannot be told" in one_line(shown)


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_the_best_are_marked_with_what_is_not_told_from_them(tmp_path, capsys, form):
    for seed in range(4):
        noise = 0.002 * (seed % 2)
        write_run(tmp_path, "ce", seed, metrics={"test/nll": 0.299 + noise})
        write_run(tmp_path, "focal", seed, metrics={"test/nll": 0.303 - noise})
        write_run(tmp_path, "poly1", seed, metrics={"test/nll": 0.5 + 0.6 * noise})
    show(tmp_path, "--format", form)
    shown = capsys.readouterr().out
    best = {"table": "0.300±0.002*", "markdown": "**0.300±0.002**"}
    tied = r"0.302$\pm$0.002$\approx$" if form == "latex" else "0.302±0.002≈"
    plain = r"0.501$\pm$0.001" if form == "latex" else "0.501±0.001"

    assert best.get(form, r"\textbf{0.300$\pm$0.002}") in shown
    assert f" {tied} " in shown
    assert f" {plain} " in shown
    ece = "4.0±0.0" if form != "latex" else r"4.0$\pm$0.0"
    assert f"{ece}*" not in shown  # where nobody is told from the best nobody is marked


def test_a_loss_with_a_single_seed_takes_no_marks_from_the_others(tmp_path, capsys):
    for seed in range(3):
        noise = 0.001 * seed
        write_run(tmp_path, "ce", seed, metrics={"test/nll": 0.3 + noise})
        write_run(tmp_path, "focal", seed, metrics={"test/nll": 0.5 + noise + noise**2})
    write_run(tmp_path, "gce", 0)
    show(tmp_path)

    assert "0.301±0.002* " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("twins", "verdict"),
    [(True, "the same weights, bit for bit, in 2 of 2 pairs"), (False, "control FAILED")],
)
def test_the_control_compares_weights_and_not_scores(tmp_path, capsys, twins, verdict):
    for seed in range(2):
        write_run(tmp_path, "ce", seed, 0.01 * seed, weights="a")
        write_run(tmp_path, "sparse_ce", seed, 0.01 * seed, weights="a" if twins else "b")
    show(tmp_path)
    shown = one_line(capsys.readouterr().out)

    assert verdict in shown
    assert ("sparse_ce 2 same same same same" in shown) is twins


def test_a_copied_run_is_not_counted_twice(tmp_path):
    write_run(tmp_path, "ce", 0)
    shutil.copytree(tmp_path / "tested", tmp_path / "backup")

    with pytest.raises(SystemExit, match="3"):
        show(tmp_path)


def test_an_infinite_score_is_shown_as_such(tmp_path, capsys):
    for seed in range(2):
        write_run(tmp_path, "ce", seed, 0.01 * seed)
        write_run(tmp_path, "square", seed, shift=float("inf") if seed else 0.0)
    show(tmp_path, "--picture", tmp_path / "drawn.png")

    assert "inf: square gave the true class" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_a_miscalibration_is_marked_by_what_most_runs_say(tmp_path, capsys, form):
    for seed in range(3):
        folder = write_run(tmp_path, "ce", seed, 0.001 * seed)
    verdicts = {"test": "within noise", "test_ts_recipe": "over-confident"}
    edit(
        folder,
        tags={f"{prefix}_verdict": word for prefix, word in verdicts.items()},
        metrics={f"{prefix}_null/p": P[word] for prefix, word in verdicts.items()},
    )
    show(tmp_path, "--format", form)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "0.401" in line]

    assert row.count("3.1±0.2") == 2
    assert row.count("3.1±0.2↑") == 1
    assert row.index("3.1±0.2↑") < row.rindex("3.1±0.2")


def test_a_map_that_differs_between_losses_is_said(tmp_path, capsys):
    for loss in ("ce", "focal"):
        write_run(tmp_path, loss, 0)
    write_run(tmp_path, "logit_norm", 0, tags={"scaled_map": "softmax(log p / T)"})
    show(tmp_path, "--legend")

    assert "softmax(z / T), softmax(log p / T) for logit_norm" in capsys.readouterr().out


def test_a_temperature_at_its_bound_is_said(tmp_path, capsys):
    for seed in range(2):
        write_run(tmp_path, "ce", seed, metrics={"test_ts/temperature_at_bound": float(seed)})
    show(tmp_path)

    assert "the temperature for ce (1 of 2): no answer on it is wrong," in one_line(
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "what", [{"commit": "beef"}, {"torch": "3"}, {"hardware": "slide rule"}, {"compile": "default"}]
)
def test_runs_of_different_origin_are_said_to_be_so(tmp_path, capsys, what):
    write_run(tmp_path, "ce", 0)
    write_run(tmp_path, "focal", 0, tags=what)
    show(tmp_path)
    ((name, value),) = what.items()
    shown = one_line(capsys.readouterr().out)

    assert f"different origin: {name} (" in shown
    assert value in shown.partition("different origin")[2].partition(")")[0]


def test_runs_that_saw_different_code_are_named(tmp_path, capsys):
    for seed in range(3):
        write_run(tmp_path, "ce", seed, tags={"loss_sha256": "a", "model_sha256": "m"})
        write_run(
            tmp_path,
            "focal",
            seed,
            tags={"loss_sha256": "bcc"[seed], "model_sha256": "mnm"[seed], "schedule_sha256": "s"},
        )
    write_run(tmp_path, "focal", 3)  # before hashes were kept
    show(tmp_path)
    shown = one_line(capsys.readouterr().out)

    assert "different origin: code of loss focal (focal-s0 differs from the other 2 runs)" in shown
    assert "different origin: code of net cnn (focal-s1 differs from the other 5 runs)" in shown
    assert "code of loss ce" not in shown
    assert "code of schedule" not in shown


def test_runs_on_different_images_are_said_to_be_compared_separately(tmp_path, capsys):
    for loss in ("ce", "focal"):
        write_run(tmp_path, loss, 0, tags={"data_sha256": "a"})
    write_run(tmp_path, "ce", 1, tags={"data_sha256": "b"})
    show(tmp_path)

    assert (
        "Compared separately, since runs of one experiment saw different images or labels of "
        "digits (ce-s1 differs from the other 2 runs)."
    ) in one_line(capsys.readouterr().out)


def test_a_name_in_capitals_or_brackets_is_shown_as_it_is(tmp_path, capsys):
    write_run(tmp_path, "my[bold]loss_100%", 0)
    for form in ("table", "latex"):
        show(tmp_path, "--format", form)

    shown = capsys.readouterr().out
    assert "my[bold]loss_100% " in shown
    assert r"my[bold]loss\_100\%" in shown


def test_a_picture_is_drawn(tmp_path):
    for seed in range(2):
        write_run(tmp_path, "ce", seed, 0.01 * seed)
        write_run(tmp_path, "hinge", seed, 0.01 * seed)
    show(tmp_path, "--picture", tmp_path / "drawn.png")

    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")


def test_the_yardsticks_are_metrics_that_are_reported():
    assert {each.key for each in YARDSTICKS} <= {
        f"{split}/{key}" for split in ("test", "test_ts", "test_pc") for key in METRICS
    }
    assert {choice.partition("/")[2] for choice in CHOICES} < METRICS.keys()


def test_one_experiment_of_several_is_shown_when_named(tmp_path, capsys):
    for name in ("one", "two"):
        write_run(tmp_path, "ce", 0, experiment=name)
    show(tmp_path, "--experiment", "two")
    shown = capsys.readouterr().out

    assert "two: digits" in shown
    assert "one: digits" not in shown


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"metrics": {"test/top1": float("nan")}}, "expected a number as test/top1, got nan"),
        ({"metrics": {"test/nll": 1e308}}, "expected a number below 1e+100 as test/nll"),
        ({"metrics": {"test/nll": "0.4"}}, "expected a number as test/nll, got '0.4'"),
        ({"params": {"seed": "abc"}}, "expected a seed of 0 or more, got 'abc'"),
        ({"params": {"seed": 1.5}}, "expected a seed of 0 or more, got 1.5"),
        ({"params": {"loss": None}}, "expected a text, got None"),
        ({"experiment": ["a"]}, "expected a text, got ['a']"),
        ({"n_test": -5}, "one test image at least"),
        ({"seconds": "long"}, "expected a number as seconds, got 'long'"),
    ],
)
def test_a_result_that_no_run_writes_is_named_with_its_fault(tmp_path, capsys, changes, complaint):
    folder = write_run(tmp_path, "ce", 0)
    edit(folder, **changes)
    with pytest.raises(SystemExit, match="3"):
        show(tmp_path, "--format", "csv")
    said = capsys.readouterr().err

    assert complaint in said
    assert str(folder / "result.json") in said
    assert said.count("\n") == 1


def test_a_metric_that_some_runs_lack_is_said_to_be_left_out(tmp_path, capsys):
    for seed in range(2):
        folder = write_run(tmp_path, "ce", seed, 0.01 * seed)
    content = json.loads((folder / "result.json").read_text())
    del content["metrics"]["test/nll"], content["sha256"]
    (folder / "result.json").write_text(json.dumps(content))
    show(tmp_path)
    shown = one_line(capsys.readouterr().out)

    assert "Metrics that not every run has, and so left out: ce test/nll" in shown
    assert "are no probabilities" not in shown


def xent_report(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("xent-report")), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("content", [None, "", "{}", "not json"])
def test_no_runs_or_a_damaged_one_get_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "runs" / "a" / "b").mkdir(parents=True)
        (tmp_path / "runs" / "a" / "b" / "result.json").write_text(content)
    refused = xent_report(cwd=tmp_path)

    assert refused.returncode == 3
    assert refused.stderr.startswith("xent-report: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--baseline", "mse"], 2, "--baseline: expected one of ce, got mse"),
        (["--baseline", "cee"], 2, "expected one of ce, got cee; did you mean ce?"),
        (["--experiment", "testd"], 2, "got testd; did you mean tested?"),
        (["--experiment", "other"], 2, "--experiment: expected one of tested, got other"),
        (
            ["--tie", "top9=1"],
            2,
            "expected METRIC=D with one of top1, top5, nll, brier, ece",
        ),
        (["--tie", "top1=-1"], 2, "a number above 0, got top1=-1"),
        (["--tie", "top1=inf"], 2, "a number above 0, got top1=inf"),
        (["--tie", "top1"], 2, "--tie"),
        (["--power", "0"], 2, "expected points above 0"),
        (["--choose-by", "test/top1"], 2, "--choose-by: invalid choice: 'test/top1'"),
        (["--choose-by", "val/confidence"], 2, "invalid choice"),
        (["--picture", "no/such/folder.png"], 2, "no/such/folder.png"),
        (["--picture", "drawn"], 2, "ends in .png or .svg or .pdf"),
        (["--page", "no/such/folder.html"], 2, "no/such/folder.html"),
        (["--page", "/dev/null"], 2, "ends in .html"),
        (["--page", "folder.html"], 2, "expected a file in an existing folder"),
        (["sqlite:///none.db"], 4, "no store at sqlite:///none.db"),
        (["gopher://nowhere"], 4, "gopher://nowhere: MLflow knows no such scheme"),
        (["sqlite:////tmp"], 4, "no store at sqlite:////tmp"),
        (["sqlite+pysqlite:///none.db"], 4, "no store at"),
    ],
)
def test_a_mistake_gets_a_line_that_says_what_was_expected(tmp_path, arguments, code, complaint):
    write_run(tmp_path / "runs", "ce", 0)
    (tmp_path / "folder.html").mkdir()
    refused = xent_report(*arguments, cwd=tmp_path)

    assert refused.returncode == code
    assert complaint in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "none.db").exists()


def test_the_report_starts_without_torch_or_mlflow(tmp_path):
    for seed in range(2):
        write_run(tmp_path, "ce", seed, 0.01 * seed)
        write_run(tmp_path, "focal", seed, 0.02 * seed)
    probe = (
        "import sys; from xent_bench.commands.report import main;"
        "main(['.', '--picture', 'p.png', '--page', 'p.html']);"
        "print(sorted({'torch', 'mlflow', 'pytorch_lightning'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert shown.stdout.endswith("[]\n")


def test_a_reader_that_stops_early_takes_no_picture_away(tmp_path):
    for seed in range(3):
        write_run(tmp_path, "ce", seed, 0.01 * seed)
    command = f"{Path(sys.executable).with_name('xent-report')} . --picture p.png | head -1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)

    assert "Picture: p.png" in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert (tmp_path / "p.png").exists()


def test_help_names_the_forms(tmp_path):
    shown = xent_report("--help", cwd=tmp_path)

    assert shown.returncode == 0
    assert "{table,markdown,latex,csv}" in shown.stdout


def test_runs_of_a_sweep_without_a_result_are_counted(tmp_path, capsys):
    done = write_run(tmp_path, "ce", 0)
    planned = [
        Planned(name, "xent-train", [], tmp_path / "tested" / name, "temperature", False, False)
        for name in (done.name, "ce-1", "focal-0")
    ]
    save_sweep(done.parent, Sweep(None, "xent-train -m", planned))
    show(tmp_path)

    assert "Of the 3 runs of the last sweep in" in (said := one_line(capsys.readouterr().out))
    assert f"2 have no result yet and are not reported: xent-status {done.parent}" in said
