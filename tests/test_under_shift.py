"""The report's numbers under shift: means, differences paired by seed, relative errors, tables."""

import shlex
from statistics import fmean

import numpy as np
import plotly.graph_objects as go
import pytest
from compared_losses import compared
from scipy import stats
from written_run import write_run

from xent_bench.comparison.under_shift import foreign_rows, under_shift
from xent_bench.metrics.shifts import FIFTEEN, on_other_images
from xent_bench.report.charts.band import draw_band
from xent_bench.report.charts.severity import severity_chart
from xent_bench.report.shift_tables import foreign_in_full, foreign_table, shift_table
from xent_bench.runs.sweep_record import Planned, Sweep, save_sweep

ERRORS = {  # of each loss, seed, corruption and severity
    "ce": {0: {"fog": (0.2, 0.4), "snow": (0.1, 0.3)}, 1: {"fog": (0.3, 0.5), "snow": (0.2, 0.2)}},
    "focal": {
        0: {"fog": (0.1, 0.2), "snow": (0.2, 0.4)},
        1: {"fog": (0.2, 0.2), "snow": (0.4, 0.4)},
    },
}


def write(root, errors=ERRORS, **more):
    for loss, by_seed in errors.items():
        for seed, by_name in by_seed.items():
            scores = {"test/top1": 0.9, "test/ece": 0.01, "test_ts/ece": 0.02} | more
            for name, values in by_name.items():
                for severity, error in zip((1, 4), values, strict=True):
                    scores |= {
                        f"shift/{name}/{severity}/top1": 1 - error,
                        f"shift/{name}/{severity}/ece": error / 2,
                        f"shift_ts/{name}/{severity}/ece": error / 4,
                    }
            write_run(root, loss, seed, metrics=scores)
    return compared(root)


def test_the_relative_error_is_the_sum_over_severities_divided_by_the_baselines(tmp_path):
    (_, focal) = sorted(under_shift(write(tmp_path)).rows)
    by_seed = [fmean([0.3 / 0.6, 0.6 / 0.4]), fmean([0.4 / 0.8, 0.8 / 0.4])]

    assert focal.label == "focal"
    assert focal.relative_error.mean == pytest.approx(fmean(by_seed))
    half = stats.t.ppf(0.975, 1) * np.std(by_seed, ddof=1) / np.sqrt(2)
    assert focal.relative_error.half_width == pytest.approx(half)


def test_differences_are_paired_by_seed(tmp_path):
    (ce, focal) = sorted(under_shift(write(tmp_path)).rows)
    differences = [0.25 - 0.225, 0.3 - 0.3]  # mean error of ce minus that of focal, for each seed
    low, high = stats.t.interval(0.95, 1, np.mean(differences), stats.sem(differences))

    assert ce.difference is None
    assert focal.difference.mean == pytest.approx(np.mean(differences))
    assert focal.difference.half_width == pytest.approx((high - low) / 2)


def test_curves_begin_with_test_as_it_is(tmp_path):
    shift = under_shift(write(tmp_path))
    (ce, _) = sorted(shift.rows)

    assert (shift.names, shift.severities) == (["snow", "fog"], [1, 4])
    np.testing.assert_allclose(ce.curves["shift/top1"][0], [0.9, 0.85, 0.65])
    np.testing.assert_allclose(ce.curves["shift_ts/ece"][1], [0.02, 0.0625, 0.0875])
    assert ce.means["shift/ece"].mean == pytest.approx(np.mean([0.125, 0.15]))


def test_only_corruptions_that_all_runs_have_are_compared(tmp_path):
    errors = ERRORS | {"mse": {seed: {"fog": (0.5, 0.5)} for seed in (0, 1)}}

    assert under_shift(write(tmp_path, errors)).names == ["fog"]


def test_a_loss_with_a_run_that_was_not_scored_is_left_out_and_named(tmp_path):
    errors = ERRORS | {"mse": {0: {"fog": (0.5, 0.5), "snow": (0.5, 0.5)}, 1: {}}}
    comparison = write(tmp_path, errors)
    table = shift_table(comparison)

    assert [row[0] for row in table.rows] == ["ce", "focal"] or len(table.rows) == 2
    assert "Not scored under shift, and so left out: mse." in table.notes[0]


def test_a_part_without_scores_says_why_and_what_to_type(tmp_path):
    one = {"fog": (0.5, 0.5)}
    table = shift_table(write(tmp_path, {"ce": {0: one, 1: {}}, "focal": {0: {}, 1: {}}}))

    assert sorted(table.rows) == [["ce", "2", "1"], ["focal", "2", "0"]]
    assert "1 of 4 runs have such scores, and no loss has them for all" in table.notes[0]
    assert table.in_brief().notes == table.notes  # a reader in a hurry sees it too
    assert table.notes[1].startswith("To score the others")
    commands = [shlex.split(command) for command in table.notes[2:]]
    assert sorted(next(w for w in words if w.startswith("loss=")) for words in commands) == [
        *("loss=ce", "loss=focal", "loss=focal"),
    ]
    assert all(words[-2:] == ["shift.names=[fog]", "shift.severities=[1,4]"] for words in commands)


def test_scores_under_different_corruptions_are_a_reason_too(tmp_path):
    fog, snow = {"fog": (0.5, 0.5)}, {"snow": (0.5, 0.5)}
    table = shift_table(write(tmp_path, {"ce": {0: fog, 1: fog}, "focal": {0: snow, 1: snow}}))

    assert "No corruption at the same severities is shared" in table.notes[0]
    assert all("'shift.names=[fog,snow]'" in command for command in table.notes[2:5])
    assert table.notes[5] == "and 1 run more, with the same words"


def test_runs_of_a_sweep_are_scored_by_its_command(tmp_path):
    comparison = write(tmp_path, {"ce": {0: {"fog": (0.5, 0.5)}, 1: {}}, "mse": {0: {}, 1: {}}})
    folders = [run.folder for row in comparison.rows for run in row.runs]
    planned = [
        Planned("a", "xent-train", [], place, "temperature", False, True) for place in folders
    ]
    command = "xent-train -m loss=ce,mse seed=0,1 shift.names=[snow]"
    save_sweep(folders[0].parent, Sweep(None, command, planned))
    table = shift_table(comparison)

    assert table.notes[2:] == [
        "xent-train -m loss=ce,mse seed=0,1 'shift.names=[fog]' 'shift.severities=[1,4]'"
    ]


def test_all_corruptions_are_asked_for_by_one_word(tmp_path):
    every = dict.fromkeys(FIFTEEN, (0.5, 0.5))
    table = shift_table(write(tmp_path, {"ce": {0: every, 1: every}, "mse": {0: every, 1: {}}}))

    assert "mse" in table.in_brief().notes[1]
    assert table.in_brief().notes[-1] == table.notes[-1]
    assert table.notes[-1].endswith(" shift=all 'shift.severities=[1,4]'")


def test_without_a_shift_nothing_is_shown(tmp_path):
    comparison = write(tmp_path, {"ce": {0: {}}, "focal": {0: {}}})

    assert under_shift(comparison) is None
    assert shift_table(comparison) is None
    assert foreign_table(comparison) is None
    assert severity_chart(None, {}) is None


def test_the_table_shows_what_was_computed(tmp_path):
    table = shift_table(write(tmp_path))
    rows = {row[0]: dict(zip(table.headings, row, strict=True)) for row in table.rows}

    assert rows["focal"]["error as %\nof ce's"].startswith("112.5±")  # (100 + 125) / 2
    assert rows["focal"]["top-1 minus\nce, points"].startswith("+1.3±")
    assert rows["ce"]["top-1 %"].startswith("72.5±")
    assert "Test under snow, fog, severities 1, 4, computed images." in table.notes[0]


def test_the_chart_has_a_line_and_a_band_for_each_loss_and_score(tmp_path):
    figure = severity_chart(under_shift(write(tmp_path)), {"ce": "#111111", "focal": "#222222"})
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]

    assert [(line.name, line.showlegend) for line in lines[:3]] == [
        (lines[0].name, True),
        (lines[0].name, False),
        (lines[0].name, False),
    ]
    assert len(figure.data) == 2 * 2 * 3
    (top1,) = [line for line in lines if line.name == "ce" and line.showlegend]
    np.testing.assert_allclose(top1.y, [90, 80, 65])


def test_foreign_sets_have_a_row_for_each_loss(tmp_path):
    more = {f"foreign/noise_uniform/{key}_margin": 0.75 for key in ("auroc", "fpr95_test")}
    comparison = write(tmp_path, **more | {"foreign/noise_uniform/auroc_energy": 0.5})
    table = foreign_table(comparison)
    (full,) = foreign_in_full(comparison)

    assert table.headings == ["images", "loss", "n", "margin", "energy"]
    assert {tuple(row[:1]) + tuple(row[2:]) for row in table.rows} == {
        ("noise_uniform", "2", "75.0", "50.0")  # both seeds have one value: no interval
    }
    assert len(full.rows) == 4
    assert {row.certainty for row in foreign_rows(comparison)["noise_uniform"]} == {
        "margin",
        "energy",
    }


def test_a_run_ends_with_its_means_on_other_images():
    fifteen = {"shift/mean/top1": 0.835, "shift_ts/mean/ece": 0.027, "shift/fog/3/top1": 0.5}
    assert on_other_images(fifteen) == [
        "Mean over 15 corruptions at 5 severities: top-1 83.50 %, "
        "ECE after temperature scaling 2.70 %."
    ]
    two = {"shift/fog/3/top1": 0.5, "shift/fog/5/top1": 0.25, "foreign/noise/auroc_margin": 0.9}
    assert on_other_images(two) == [
        "Mean over 2 pairs of a corruption and a severity: top-1 37.50 %.",
        "AUROC by margin against foreign images: noise 90.00 %.",
    ]
    assert on_other_images({"test/top1": 1.0}) == []


def test_a_band_of_a_few_points_has_no_marks_at_its_edge():
    figure = go.Figure()
    values = np.array([[1.0, 2.0], [3.0, 1.0]])
    draw_band(figure, np.arange(2), values, "ce", "#0072b2", 0, hover="%{y}", named=True)
    edge, mean = figure.data
    assert edge.mode == "lines"
    assert list(edge.y) == [3, 2, 1, 1]
    assert list(mean.y) == [2, 1.5]
