"""Losses over several tasks: which tasks and losses are used, and what the report says of them."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon
from statsmodels.stats.multitest import multipletests
from written_run import edit, write_run

from xent_bench.commands.report import main
from xent_bench.comparison.compare import Options, compare
from xent_bench.comparison.over_tasks import OverTasks, over_tasks
from xent_bench.comparison.tasks import Selection, select_tasks
from xent_bench.palette import colours_of
from xent_bench.report.charts.critical_difference import ranks_svg
from xent_bench.report.task_tables import task_parts
from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.result import load_runs

# NLL of each loss above 0.4 on ten data sets: mse is always best, focal always worst
NLL = {
    "ce": [0.000, 0.011, 0.002, 0.013, 0.004, 0.005, 0.016, 0.007, 0.018, 0.009],
    "focal": [0.050, 0.062, 0.057, 0.046, 0.081, 0.063, 0.054, 0.072, 0.049, 0.043],
    "mse": [-0.042, -0.033, -0.051, -0.061, -0.039, -0.056, -0.047, -0.045, -0.036, -0.031],
    "poly1": [0.010, 0.003, 0.009, 0.001, 0.015, 0.000, 0.018, 0.003, 0.024, 0.008],
}


def write_task(root: Path, place: int, losses: Mapping[str, list[float]] = NLL, **params: object):
    """Write two seeds of each loss on the data set of this number."""
    for loss, nll in losses.items():
        for seed in (0, 1):
            chosen = {"data": f"d{place}"} | params
            write_run(root, loss, seed, nll[place] + 0.002 * seed, **chosen)


def selected(root: Path, **options: object) -> Selection:
    return select_tasks(compare(load_runs(root), load_unfinished(root), Options(**options)))


def ranked(root: Path, **options: object) -> OverTasks:
    return over_tasks(selected(root, **options))


def test_p_are_wilcoxons_over_tasks_corrected_by_holm(tmp_path):
    for place in range(10):
        write_task(tmp_path, place)
    over = ranked(tmp_path)
    others = ("focal", "mse", "poly1")
    ps = [
        wilcoxon(np.subtract(NLL[label], NLL["ce"]).round(6), method="exact").pvalue
        for label in others
    ]

    expected = multipletests(ps, method="holm")[1]
    assert [over.against[label].p for label in others] == pytest.approx(expected)
    assert [over.against[label].verdict for label in others] == ["worse", "better", "inconclusive"]
    assert over.against["mse"].difference == pytest.approx(-0.0525)  # the median
    assert over.mean_ranks == {"mse": 1.0, "ce": 2.5, "poly1": 2.5, "focal": 4.0}
    assert over.groups == [["ce", "poly1"]]
    assert (over.against["mse"].posterior.better, over.against["focal"].posterior.worse) > (
        0.99,
    ) * 2


def test_larger_is_better_where_the_metric_says_so(tmp_path):
    for place in range(10):
        write_task(tmp_path, place)
    over = ranked(tmp_path, primary="test/top1")

    assert over.losses[0] == "focal"
    assert over.against["focal"].verdict == "better"


def test_few_tasks_say_nothing_and_how_many_would(tmp_path):
    for place in range(6):
        write_task(tmp_path, place)
    parts = task_parts(compare(load_runs(tmp_path)))

    assert {against.verdict for against in parts.over.against.values()} == {"inconclusive"}
    # three tests: 3 * 2 / 2^6 = 0.094, and 3 * 2 / 2^7 = 0.047
    assert "Nothing follows from 6 tasks about which loss is better" in parts.conclusion
    assert "would have p = 0.094, corrected over 3 tests. At least 7 tasks" in parts.conclusion


def test_a_data_set_with_several_nets_counts_once(tmp_path):
    for place in range(4):
        for net in ("mlp", "cnn"):
            write_task(tmp_path, place, model=net)
    over = ranked(tmp_path)

    assert (len(over.selection.tasks), over.data_sets) == (8, 4)
    assert over.friedman.degrees == (3, 9)
    assert over.says_nothing  # eight tasks would do


def test_the_same_images_are_one_data_set_whatever_their_name(tmp_path):
    hashes = {"tags": {"data_sha256": "a" * 64}}
    for name, net in (("photos", "mlp"), ("pictures", "cnn")):
        for loss in NLL:
            edit(write_run(tmp_path, loss, 0, data=name, model=net), **hashes)
    for flip, net in ((False, "mlp"), (True, "cnn")):
        write_task(tmp_path, 2, model=net, **{"data.flip": flip})
    data_sets = {task.title: task.data_set for task in selected(tmp_path).tasks}

    assert data_sets["photos with mlp"] == data_sets["pictures with cnn"]
    assert data_sets["d2 with mlp"] == data_sets["d2 with cnn"]
    assert len(set(data_sets.values())) == 2


def test_sets_made_by_one_generator_are_tasks_of_one_data_set(tmp_path):
    for noise in (1, 2):
        write_task(tmp_path, 0, **{"data.noise": noise})
    for root in ("cats", "dogs"):
        write_task(tmp_path, 1, **{"data.root": root})
    tasks = selected(tmp_path).tasks

    assert len(tasks) == 4
    assert len({task.data_set for task in tasks if task.title.startswith("d0")}) == 1
    assert len({task.data_set for task in tasks if task.title.startswith("d1")}) == 2


def test_of_variants_with_conditions_the_one_without_is_used(tmp_path):
    for place in range(2):
        write_task(tmp_path, place)
        write_task(tmp_path, place, noise="symmetric", **{"noise.rate": 0.4})
    write_task(tmp_path, 2, train_fraction=0.1)
    selection = selected(tmp_path)

    assert [task.title for task in selection.tasks] == ["d0 with cnn", "d1 with cnn", "d2 with cnn"]
    assert (
        "tested: d0 with cnn is used; not used: tested: d0 with cnn, noise" in selection.remarks[0]
    )
    assert "Used under a condition of the data: d2 with cnn (10 % of train)." in selection.remarks


def test_losses_that_most_tasks_have_are_compared_on_the_tasks_that_have_them(tmp_path):
    for place in range(5):
        write_task(tmp_path, place, {k: v for k, v in NLL.items() if (k, place) != ("mse", 4)})
    write_run(tmp_path, "hinge", 0, data="d0")
    selection = selected(tmp_path)

    assert sorted(selection.losses) == sorted(NLL)
    assert len(selection.tasks) == 4
    assert "Left out: d4 with cnn, without a result of mse." in selection.remarks
    assert "Left out, since too few of the tasks have them: hinge." in selection.remarks


def test_a_loss_in_another_format_is_left_out_whatever_the_baseline(tmp_path):
    for place in range(3):
        write_task(tmp_path, place)
        for seed in (0, 1):
            write_run(
                tmp_path,
                "sparse_ce",
                seed,
                NLL["ce"][place] + 0.002 * seed,
                weights="ce",
                data=f"d{place}",
            )

    for baseline in ("ce", "mse"):
        selection = selected(tmp_path, baseline=baseline)
        assert "sparse_ce" not in selection.losses
        assert "Left out: sparse_ce, which ended with the weights of ce." in selection.remarks


def test_losses_that_were_tuned_unequally_are_no_task(tmp_path):
    for place in range(3):
        write_task(tmp_path, place)
    write_run(tmp_path, "ce", 0, data="d0", **{"optimizer.lr": 0.5})
    selection = selected(tmp_path)

    assert [task.title for task in selection.tasks] == ["d1 with cnn", "d2 with cnn"]
    assert "since they were not tuned alike" in selection.remarks[0]


def test_without_the_baseline_all_pairs_are_tested(tmp_path):
    for place in range(10):
        write_task(tmp_path, place, {k: v for k, v in NLL.items() if k != "ce"})
    parts = task_parts(compare(load_runs(tmp_path)))

    assert parts.over.against == {}
    assert parts.over.tests == 3
    assert "Any two losses are shown to differ" in parts.conclusion
    assert list(parts.tables[0].headings) == ["loss", "mean\nrank"]


def test_one_task_alone_is_not_ranked_over(tmp_path):
    write_task(tmp_path, 0)
    parts = task_parts(compare(load_runs(tmp_path)))

    assert parts.tables == []
    assert "got 1 that shares 4" in parts.conclusion


def test_the_picture_joins_what_is_not_shown_to_differ_and_is_the_same_each_time(tmp_path):
    for place in range(10):
        write_task(tmp_path, place)
    over = ranked(tmp_path)
    picture = ranks_svg(over, colours_of(over.losses))

    assert picture.startswith("<svg")
    assert picture == ranks_svg(over, colours_of(over.losses))
    assert all(colour in picture for colour in colours_of(over.losses).values())


def test_the_page_and_the_picture_have_the_ranks(tmp_path):
    for place in range(2):
        write_task(tmp_path / f"part{place}", place)
    folders = [str(tmp_path / "part0"), str(tmp_path / "part1")]
    page, picture = tmp_path / "page.html", tmp_path / "ranks.svg"

    main([*folders, "--page", str(page), "--picture", str(picture)])

    assert "Nothing follows from 2 tasks" in page.read_text()
    assert page.read_text().count('role="img"') == 1
    assert picture.stat().st_size > 10_000


def test_folders_are_compared_together_in_the_terminal_and_as_csv(tmp_path, capsys):
    for place in range(10):
        write_task(tmp_path / f"part{place % 2}", place)
    folders = [str(tmp_path / "part0"), str(tmp_path / "part1")]

    main(folders)
    text = " ".join(capsys.readouterr().out.split())
    assert "Over 10 tasks: NLL after temperature scaling" in text
    assert "Better than ce: mse; worse than ce: focal; inconclusive: poly1." in text

    main([*folders, "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    (row,) = [r for r in rows if r["setting"] == "over 10 tasks" and r["loss"] == "mse"]
    assert float(row["test_ts/nll/over_tasks/mean_rank"]) == 1
    assert row["test_ts/nll/over_tasks/verdict"] == "better"
    assert float(row["test_ts/nll/over_tasks/rank d3 with cnn"]) == 1


def test_one_folder_is_ranked_over_tasks_only_when_asked(tmp_path, capsys):
    for place in range(3):
        write_task(tmp_path, place)
    main([str(tmp_path)])
    plain = capsys.readouterr().out
    main([str(tmp_path), "--tasks"])
    asked = capsys.readouterr().out

    assert "Over 3 tasks" not in plain
    assert asked.startswith(plain.rstrip("\n")[:2000])
    assert "Over 3 tasks" in asked


@pytest.mark.parametrize(
    ("places", "code", "complaint"),
    [
        (["a", "a"], 2, "expected each place once, got a twice"),
        (["a", "../x/a"], 2, "twice"),
        ([".", "a"], 2, "got . and a, which lies in it"),
        (["a", "absent"], 3, "got absent: no such folder"),
        (["a", "copy"], 3, "is in a and in copy; give one of them"),
        (["a", "empty"], 3, "no finished run in empty"),
        (["a", "b", "--experiment", "testd"], 2, "got testd"),
        (["a", "sqlite:///absent.db", "--publish"], 2, "publish each store by itself"),
    ],
)
def test_places_that_do_not_go_together_get_one_line(
    tmp_path, monkeypatch, capsys, places, code, complaint
):
    x = tmp_path / "x"
    for folder, place in (("a", 0), ("copy", 0), ("b", 1)):
        write_task(x / folder, place)
    (x / "empty").mkdir()
    monkeypatch.chdir(x)

    with pytest.raises(SystemExit) as end:
        main(places)

    assert end.value.code == code
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_tasks_whose_sweeps_declare_other_metrics_are_ranked_by_the_usual_one(tmp_path):
    for place in range(2):
        write_task(tmp_path, place)
    by_nll, by_top1 = (
        comparisons[place]
        for place, comparisons in enumerate(
            compare(load_runs(tmp_path), (), Options(primary=key))
            for key in ("test/nll", "test/top1")
        )
    )

    assert select_tasks([by_nll, by_nll]).by.key == "test/nll"
    assert select_tasks([by_nll, by_top1]).by.key == "test_ts/nll"
    assert [task.value("ce") for task in select_tasks([by_nll, by_top1]).tasks] == pytest.approx(
        [0.401, 0.412]
    )
