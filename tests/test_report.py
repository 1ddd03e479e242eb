"""The comparison: the numbers of the runs, said once, with their uncertainty."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest
from scipy import stats

from xent_bench.report import COLUMNS, report
from xent_bench.stats import estimate

METRICS = {"top1": 0.9, "top5": 0.99, "nll": 0.4, "brier": 0.2, "ece": 0.03}


def write_run(
    root: Path,
    loss: str,
    seed: int,
    shift: float = 0.0,
    weights: str = "a",
    bound: float = 0.0,
    **params: object,
) -> None:
    values = {key: value + shift for key, value in METRICS.items()}
    metrics = {
        f"{split}/{key}": value for split in ("test", "test_ts") for key, value in values.items()
    }
    if loss == "hinge":
        metrics = {k: v for k, v in metrics.items() if k.startswith("test_ts") or "top" in k}
    metrics |= {"test_ts/temperature": 1.0, "test_ts/temperature_at_bound": bound}
    chosen = {"loss": loss, "data": "digits", "model": "cnn", "optimizer.lr": 0.1, "seed": seed}
    result = {
        "name": f"{loss}-s{seed}",
        "experiment": "tested",
        "params": chosen | params,
        "metrics": metrics,
        "tags": {"key": f"{loss}{seed}{params}", "weights_sha256": f"{weights}{seed}"}
        | {"hardware": "abacus", "torch": "2", "scaled_map": "softmax(z / T)"}
        | {"test_verdict": "over-confident", "test_ts_verdict": "within noise"},
        "command": "xent-train",
        "n_test": 359,
        "seconds": 1.0,
    }
    suffix = "-".join(str(value) for value in params.values())
    folder = root / "tested" / f"{loss}-s{seed}-{suffix}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))


def test_an_interval_is_students_t():
    values = [0.1, 0.4, 0.2, 0.35]
    low, high = stats.t.interval(0.95, 3, loc=fmean(values), scale=stats.sem(values))

    found = estimate(values)
    assert found.mean - found.half_width == pytest.approx(low)
    assert found.mean + found.half_width == pytest.approx(high)


def test_one_run_has_no_interval():
    assert estimate([0.5]) == (0.5, None, 1)


def test_the_interval_covers_the_mean_as_often_as_it_says(rng):
    import torch

    draws = torch.randn(4000, 3, generator=rng, dtype=torch.float64).tolist()
    covered = sum(abs(e.mean) <= e.half_width for e in map(estimate, draws)) / 4000

    assert covered == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def test_a_row_holds_mean_interval_and_n_over_seeds(tmp_path, capsys):
    for seed, shift in enumerate([0.0, 0.01, 0.02]):
        write_run(tmp_path, "ce", seed, shift)
    report(tmp_path, "csv")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))

    assert (row["loss"], row["n"]) == ("ce", "3")
    assert float(row["test/nll"]) == pytest.approx(0.41)
    assert float(row["test/nll/half_width"]) == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-5)


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_the_table_shows_every_loss_once_within_100_columns(tmp_path, capsys, form):
    for seed in range(3):
        for loss in ("ce", "sparse_ce", "hinge"):
            write_run(tmp_path, loss, seed, 0.01 * seed)
    report(tmp_path, form)
    shown = capsys.readouterr().out

    for loss in ("ce", "sparse_ce", "hinge"):
        cells = [line for line in shown.splitlines() if line.strip(" |").startswith(f"{loss} ")]
        assert len(cells) == 1
        assert "0.410±0.025" in cells[0]
    assert "the raw scores of hinge are no probabilities" in shown.replace("\n", " ")
    assert "359 test images; abacus" in shown.replace("\n", " ")
    if form == "table":
        assert max(map(len, shown.splitlines())) <= 100


def test_a_single_run_is_shown_without_an_interval(tmp_path, capsys):
    write_run(tmp_path, "ce", 0)
    report(tmp_path, "table")

    assert "±" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("weights", "verdict"),
    [("a", "the same weights, bit for bit, in 2 of 2 pairs"), ("b", "control FAILED")],
)
def test_the_control_compares_weights_and_not_scores(tmp_path, capsys, weights, verdict):
    for seed in range(2):
        write_run(tmp_path, "ce", seed, weights="a")
        write_run(tmp_path, "sparse_ce", seed, weights=weights)
    report(tmp_path, "table")

    assert verdict in " ".join(capsys.readouterr().out.split())


def test_a_tuned_hyper_parameter_makes_a_row_of_its_own(tmp_path, capsys):
    for lr in (0.1, 0.2):
        write_run(tmp_path, "ce", 0, **{"optimizer.lr": lr})
    report(tmp_path, "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    assert [row["loss"] for row in rows] == ["ce optimizer.lr=0.1", "ce optimizer.lr=0.2"]


def test_a_run_without_a_result_is_mentioned(tmp_path, capsys):
    write_run(tmp_path, "ce", 0)
    begun = tmp_path / "tested" / "mse-s0"
    begun.mkdir()
    (begun / "config.yaml").touch()
    report(tmp_path, "table")

    assert (
        "Not in the table: 1 diverged, killed or still running: mse-s0" in capsys.readouterr().err
    )


def test_a_copied_run_is_not_counted_twice(tmp_path):
    write_run(tmp_path, "ce", 0)
    shutil.copytree(tmp_path / "tested", tmp_path / "backup")

    with pytest.raises(ValueError, match="the same run twice"):
        report(tmp_path, "table")


def test_an_infinite_score_is_shown_as_such(tmp_path, capsys):
    for seed in range(2):
        write_run(tmp_path, "square", seed, shift=float("inf") if seed else 0.0)
    report(tmp_path, "table", tmp_path / "drawn.png")

    assert "inf: square gave the true class" in capsys.readouterr().out


def test_a_long_label_takes_lines_and_no_numbers(tmp_path, capsys):
    for lr in (0.1, 0.2):
        for seed in range(2):
            varied = {"optimizer.lr": lr, "schedule.warmup": 10 * lr, "precision": f"p{lr}"}
            write_run(tmp_path, "sparse_ce", seed, 0.01 * seed, **varied)
    report(tmp_path, "table")
    shown = capsys.readouterr().out

    assert shown.count("0.405±0.064") == 4
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_a_miscalibration_is_marked_by_what_most_runs_say(tmp_path, capsys, form):
    for seed in range(3):
        write_run(tmp_path, "ce", seed)
    result = tmp_path / "tested" / "ce-s0-" / "result.json"
    content = json.loads(result.read_text())
    content["tags"] |= {"test_verdict": "within noise", "test_ts_verdict": "over-confident"}
    result.write_text(json.dumps(content))
    report(tmp_path, form)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "0.400" in line]

    assert row.count("3.0±0.0") == 2
    assert row.count("3.0±0.0↑") == 1
    assert row.index("3.0±0.0↑") < row.rindex("3.0±0.0")


def test_a_map_that_differs_between_losses_is_said(tmp_path, capsys):
    for loss in ("ce", "focal", "logit_norm"):
        write_run(tmp_path, loss, 0)
    result = tmp_path / "tested" / "logit_norm-s0-" / "result.json"
    result.write_text(result.read_text().replace("softmax(z / T)", "softmax(log p / T)"))
    report(tmp_path, "table")

    assert "softmax(z / T), softmax(log p / T) for logit_norm" in capsys.readouterr().out


def test_a_temperature_at_its_bound_is_said(tmp_path, capsys):
    for seed in range(2):
        write_run(tmp_path, "ce", seed, bound=float(seed))
    report(tmp_path, "table")

    assert "open for ce (1 of 2), as where no" in " ".join(capsys.readouterr().out.split())


def test_a_picture_is_drawn(tmp_path):
    for seed in range(2):
        write_run(tmp_path, "ce", seed, 0.01 * seed)
        write_run(tmp_path, "hinge", seed, 0.01 * seed)
    report(tmp_path, "table", tmp_path / "drawn.png")

    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")


def test_the_console_line_and_the_columns_name_only_metrics_that_are_reported():
    known = {f"{split}/{key}" for split in ("test", "test_ts") for key in METRICS}

    assert {column.key for column in COLUMNS} <= known


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


def test_the_report_starts_without_torch_or_mlflow(tmp_path):
    write_run(tmp_path, "ce", 0)
    probe = (
        "import sys, pathlib; from xent_bench.report import report;"
        "report(pathlib.Path('.'), 'table', pathlib.Path('p.png'));"
        "print(sorted({'torch', 'mlflow', 'pytorch_lightning'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert shown.stdout.endswith("[]\n")


def test_help_names_the_forms(tmp_path):
    shown = xent_report("--help", cwd=tmp_path)

    assert shown.returncode == 0
    assert "{table,markdown,csv}" in shown.stdout
