"""The page, and the report from a store: one set of numbers, wherever it is read from."""

import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from mlflow import MlflowClient

from xent_bench.commands.report import main
from xent_bench.comparison.yardsticks import YARDSTICKS
from xent_bench.palette import colour_of
from xent_bench.tracking.saved_view import TAG, view_address


class Tables(HTMLParser):
    """The cells of a page's tables."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.in_cell = False

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self.in_cell:
            self.tables[-1][-1][-1] += data


def csv_of(place: object, capsys, *arguments: str) -> list[dict[str, str]]:
    capsys.readouterr()
    main([str(place), "--format", "csv", *arguments])
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def tables_of(page: Path) -> list[list[list[str]]]:
    parser = Tables()
    text = page.read_text()
    parser.feed(text[text.index("<body>") : text.index('id="plotly"')])
    return parser.tables


def traces_of(page: Path) -> list[dict[str, Any]]:
    """The lines and points of all charts, as Plotly is given them."""
    charts = re.findall(r'<script type="application/json">(.*?)</script>', page.read_text(), re.S)
    return [trace for chart in charts for trace in json.loads(chart)["data"]]


def test_a_store_and_the_folders_say_the_same_to_the_last_digit(swept, capsys):
    folder, store = swept
    ours, theirs = csv_of(folder, capsys), csv_of(store, capsys)

    assert ours == theirs
    assert len(ours) == 5
    assert [row["begun"] for row in ours if row["loss"] == "mse"] == ["1"]
    assert {row["trials"] for row in ours if row["loss"] != "mse"} == {"2"}
    for place in (folder, store):
        main([str(place), "--rank-anyway"])
    first, second = capsys.readouterr().out.split("\nswept: ")[1:]
    assert first.replace(" [xent-train]", "") == second.replace(" [xent-train]", "")


def test_a_loss_has_its_own_colour_in_every_chart_of_the_page(swept, tmp_path):
    main([str(swept[0]), "--rank-anyway", "--page", str(tmp_path / "page.html")])
    shown = {
        (trace["name"], trace["line"]["color"])
        for trace in traces_of(tmp_path / "page.html")
        if "name" in trace and "color" in trace.get("line", {})
    }

    losses = ("ce", "sparse_ce", "hinge", "square")
    assert {(loss, colour_of(loss)) for loss in losses} == {
        (name, colour) for name, colour in shown if name in losses
    }


def test_every_mean_on_the_page_is_that_of_mlflow_and_of_the_csv(swept, tmp_path, capsys):
    folder, store = swept
    main([str(folder), "--rank-anyway", "--page", str(tmp_path / "page.html")])
    levels = tables_of(tmp_path / "page.html")[0]
    rows = {row["loss"]: row for row in csv_of(folder, capsys)}
    client = MlflowClient(store)
    stored = client.search_runs(  # a published report may be among them
        [client.get_experiment_by_name("swept").experiment_id], "attributes.status = 'FINISHED'"
    )
    keys = ("test/top1", "test/top5", "test/nll", "test_ts/nll", "test/brier", "test_ts/brier")
    compared = 0
    for label, _, *cells in levels[1:]:
        lr = rows[label]["optimizer.lr"]
        own = [
            run.data.metrics
            for run in stored
            if (run.data.params.get("loss"), run.data.params.get("optimizer.lr")) == (label, lr)
        ]
        for key, cell in zip(keys, cells[:6], strict=True):
            if cell not in ("-", "inf"):
                scale, digits = (100, 1) if "top" in key else (1, 3)
                shown = re.split("[±* ]", cell)[0]
                mean = fmean(metrics[key] for metrics in own)
                assert (
                    shown
                    == f"{scale * mean:.{digits}f}"
                    == f"{scale * float(rows[label][key]):.{digits}f}"
                )
                compared += 1

    assert compared >= 20


def test_every_difference_cost_and_trial_on_the_page_is_that_of_the_csv(swept, tmp_path, capsys):
    folder = swept[0]
    main([str(folder), "--rank-anyway", "--page", str(tmp_path / "page.html")])
    tables = {tuple(table[0][:3]): table[1:] for table in tables_of(tmp_path / "page.html")}
    rows = {row["loss"]: row for row in csv_of(folder, capsys, "--rank-anyway")}
    by_name = {f"{each.above.removesuffix(' %')} {each.below}": each for each in YARDSTICKS}
    compared = 0
    for label, metric, *cells in tables["loss", "metric", "verdict"]:
        verdict, *cells = cells
        by = by_name[metric]
        digits = by.decimals + 1
        parts = ("", "/half_width", None, "/n", "/p_holm", "/p_tie_holm", "/effect_size")
        forms = (f"+.{digits}f", f".{digits}f", "", "", ".3f", ".3f", ".2f")
        for part, form, cell in zip(parts, forms, cells, strict=False):
            value = "" if part is None else rows[label][f"{by.key}/difference{part}"]
            if part is not None and value:
                scale = by.scale if part in ("", "/half_width") else 1
                assert cell == (format(scale * float(value), form) if form else value)
                compared += 1
            else:
                assert part is None or cell == "-"
        assert verdict == rows[label][f"{by.key}/difference/verdict"]

    assert compared > 60
    for label, _, seconds, speed in tables["loss", "n", "seconds a run"]:
        assert seconds == f"{float(rows[label]['seconds']):.1f}"
        assert speed == f"{float(rows[label]['examples_per_second']):,.0f}"
    trials = csv_of(folder, capsys, "--trials")
    scores = [f"{float(row['val/top1']):.4f}" for row in trials if row["val/top1"]]
    shown = [row[2].partition("±")[0] for row in tables["loss", "n", "val/top1"] if row[2] != "-"]
    assert sorted(shown) == sorted(scores)
    assert len([row for row in trials if row["chosen"] == "True" and row["n"] != "0"]) == 4


def test_the_page_is_whole_in_itself(swept, tmp_path):
    main([str(swept[0]), "--rank-anyway", "--page", str(tmp_path / "page.html")])
    text = (tmp_path / "page.html").read_text()
    own = text[: text.index('id="plotly"')]
    scripts = text[text.index("<script>") :]

    links = re.findall(r'(?:src|href)="([^"]*)"', own)
    assert links
    assert all(link.startswith("#") for link in links)  # the runs do not lie below this page
    assert not re.findall(r"@import|url\(|https?://", own + scripts)
    for heading in (
        *("Means over seeds", "Accuracy against calibration", "Against ce, paired by seed"),
        *("Reliability", "Risk and coverage", "Course of training", "Tuning", "Cost", "Origin"),
    ):
        assert f">{heading}" in own
    assert own.count('class="chart"') == 7
    assert "Diverged: " in own
    assert "xent-train loss=ce optimizer.lr=0.003 seed=0" in own
    assert not (tmp_path / "page.html.part").exists()


def test_a_name_is_text_on_the_page_and_no_markup(swept, tmp_path):
    copy = Path(shutil.copytree(swept[0], tmp_path / "runs"))
    for file in copy.glob("*/result.json"):
        content = json.loads(file.read_text()) | {"experiment": "<script>alert(1)</script>"}
        del content["sha256"]  # as by somebody who means harm
        file.write_text(json.dumps(content))
    main([str(copy), "--rank-anyway", "--page", str(tmp_path / "page.html")])

    assert "<script>alert(1)" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("absent", ["predictions.npz", "curves.json"])
def test_a_deleted_file_is_named_and_the_rest_is_shown(swept, tmp_path, absent):
    copy = Path(shutil.copytree(swept[0], tmp_path / "runs"))
    for folder in copy.glob("*ce-*"):
        (folder / absent).unlink()
    main([str(copy), "--rank-anyway", "--page", str(tmp_path / "page.html")])
    text = (tmp_path / "page.html").read_text()

    assert "Files that cannot be read, and so left out" in text
    assert absent in text
    assert text.count('class="chart"') == 7  # of hinge and square


def test_one_run_makes_a_smaller_page(swept, tmp_path):
    (run,) = list(swept[0].glob("ce-*-s0-*"))[:1]
    main([str(run), "--page", str(tmp_path / "page.html")])
    text = (tmp_path / "page.html").read_text()

    assert "paired by seed" not in text
    assert ">Reliability" in text


@pytest.fixture(scope="module")
def published(swept):
    folder, store = swept
    main([str(folder), "--rank-anyway", "--publish"])
    return MlflowClient(store)


def test_a_report_is_published_once_with_a_view_and_a_description(swept, published, capsys):
    main([str(swept[1]), "--rank-anyway", "--publish"])  # again, from the store
    experiment = published.get_experiment_by_name("swept")
    reports = published.search_runs([experiment.experiment_id], "tags.kind = 'report'")

    assert len(reports) == 1
    assert reports[0].info.status == "FINISHED"
    (artifact,) = published.list_artifacts(reports[0].info.run_id)
    assert (artifact.path, 500_000 < artifact.file_size < 2_000_000) == ("report.html", True)
    assert view_address(experiment.experiment_id) in experiment.tags["mlflow.note.content"]
    assert "synthetic with mlp" in experiment.tags["mlflow.note.content"]
    assert TAG in experiment.tags
    assert len(csv_of(swept[1], capsys)) == 5  # the report is no run of its own


def test_the_runs_that_the_report_is_about_are_marked(swept, published, capsys):
    rows = csv_of(swept[0], capsys)
    chosen = {(row["loss"], row["optimizer.lr"]) for row in rows if int(row["n"])}
    experiment = published.get_experiment_by_name("swept")
    marked = published.search_runs([experiment.experiment_id], "tags.chosen = 'true'")

    assert {(r.data.params["loss"], r.data.params["optimizer.lr"]) for r in marked} == chosen
    colours = {r.data.params["loss"]: r.data.tags["mlflow.runColor"] for r in marked}
    assert colours == {loss: colour_of(loss) for loss in ("ce", "sparse_ce", "hinge", "square")}


@pytest.mark.parametrize(
    ("tags", "complaint"),
    [({"key": "0a1b"}, " of old: expected "), ({}, "no finished run in")],
    ids=["an edited one", "somebody else's"],
)
def test_runs_that_are_not_as_ours_are_refused_by_a_line(tmp_path, capsys, tags, complaint):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(store)
    run = client.create_run(client.create_experiment("old"), run_name="ce-s0", tags=tags)
    client.log_param(run.info.run_id, "loss", "ce")
    client.set_terminated(run.info.run_id)
    with pytest.raises(SystemExit, match="3"):
        main([store])

    assert complaint in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


def test_a_store_without_runs_names_its_experiments(tmp_path, capsys):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(store).create_experiment("somebody_elses")
    with pytest.raises(SystemExit, match="3"):
        main([store])

    assert "no finished run in" in (said := capsys.readouterr().err)
    assert "somebody_elses" in said
