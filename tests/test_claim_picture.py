"""The picture of a published claim: its numbers are those of the table, and its words fit them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from test_claims import PART, asked, judged, params_of, runs_of, with_difference

from xent_bench.claims.cells import cells_of
from xent_bench.claims.declared import Edits
from xent_bench.claims.judge import TITLES, Judgement, judge
from xent_bench.claims.schema import PROTOCOLS
from xent_bench.claims.standing import Standing
from xent_bench.palette import colours_of
from xent_bench.report.charts.claim import Picture, claim_pictures
from xent_bench.report.charts.style import GREY
from xent_bench.report.claim_page import CAPTION, claim_page
from xent_bench.report.claim_words import parts_table
from xent_bench.runs.begun import Unfinished

SEEDS = 3  # of the claims of test_claims
TOP1 = {"published": "test/top1", "fair": "test/top1", "margin": 0.5}
PARTS = [
    PART | {"expect": "better", "margin": 0.01},
    PART | {"expect": "as_good"} | TOP1,
    PART | {"expect": "worse", "margin": 0.5, "published": "test/ece", "fair": "test_ts/ece"},
]
COLOURS = colours_of(["ce", "other", "third"])


def scores(cell):
    """Scores in which the arms differ by every metric, in each seed by another amount."""
    shift = {"ce": 0.0, "other": 0.02, "third": -0.03}[cell.arm] * (1 + 0.1 * cell.seed)
    keys = ("test/nll", "test_ts/nll", "test/ece", "test_ts/ece", "val/nll", "test/top1")
    return {key: 0.5 + shift * place for place, key in enumerate(keys, 1)}


def claim_with_every_kind_of_part():
    """A claim, its cells and its judgement: two units, equal weights and a pair that is missing."""
    claim = asked(
        arms={"ce": "loss=ce", "other": "loss=focal loss.gamma=3", "third": "loss=mse"},
        parts=[PART | {"expect": "same"}, *PARTS, PARTS[1] | {"arm": "third"}],
    )
    runs = [replace(run, folder=Path("nowhere")) for run in runs_of(claim, scores)]
    lost = [run for run in runs if (run.params["loss"], run.params["seed"]) == ("mse", 0)]
    diverged = [Unfinished("", "t", run.params, "", reason="Diverged: NaN") for run in lost]
    arms = {arm: params_of(claim, arm) for arm in claim.claim.arms}
    cells = cells_of(claim, arms, [run for run in runs if run not in lost], diverged)
    return Standing(claim, cells, judge(claim, cells, arms), Edits("", [], 0))


def drawn(judgement: Judgement) -> list[Picture]:
    return claim_pictures(judgement, SEEDS, COLOURS)


def panels(pictures: list[Picture]):
    """The panels of all charts: title, labels from above, and the traces on each level."""
    for figure, _ in pictures:
        for place, title in enumerate(figure.layout.meta["titles"]):
            number = "" if place == 0 else str(place + 1)
            labels = dict(
                zip(
                    figure.layout[f"yaxis{number}"].tickvals,
                    figure.layout[f"yaxis{number}"].ticktext,
                    strict=True,
                )
            )
            traces = {trace.y[0]: trace for trace in figure.data if trace.xaxis == f"x{number}"}
            shapes = [shape for shape in figure.layout.shapes if shape.xref == f"x{number}"]
            yield title, labels, traces, shapes


def test_the_numbers_of_the_picture_are_those_of_the_table():
    judgement = judged(asked(parts=PARTS), runs_of(asked(parts=PARTS), scores))
    of_table = {(row[0], row[1]): (row[3], row[4], row[7]) for row in parts_table(judgement).rows}
    seen = {}
    for title, labels, traces, shapes in panels(drawn(judgement)):
        shade, zero = shapes
        assert shade.x0 == -shade.x1
        assert zero.x0 == zero.x1 == 0
        expect = {"better": "better than", "as good": "as good as", "worse": "worse than"}
        word = re.search(r"expected: (better|as good|worse)", title)[1]
        for level, label in labels.items():
            protocol, outcome = re.match(r"([\w ]+): <b>. (\w+)</b>", label).groups()
            trace = traces[level]
            decimals = 3 if "NLL" in title else 1
            difference = f"{trace.x[0]:+.{decimals}f}±{trace.error_x.array[0]:.{decimals}f}"
            unit = "" if "NLL" in title else " points"
            assert label.endswith(f"<br>{difference}{unit}")
            margin = f"{shade.x1:g}{unit}"
            seen[f"other {expect[word]} ce", protocol] = (difference, margin, outcome)

    assert seen == of_table
    assert len(seen) == len(PARTS) * len(PROTOCOLS)


def test_parts_in_one_unit_have_one_scale_and_units_have_a_chart_each():
    judgement = judged(asked(parts=PARTS), runs_of(asked(parts=PARTS), scores))
    nats, points = (figure for figure, _ in drawn(judgement))

    assert nats.layout.xaxis.title.text == "difference, NLL"
    assert points.layout.xaxis2.title.text == "difference, points"
    assert points.layout.xaxis.range == points.layout.xaxis2.range
    assert points.layout.xaxis2.matches == "x"
    low, high = points.layout.xaxis.range
    ends = [trace.x[0] + sign * trace.error_x.array[0] for trace in points.data for sign in (-1, 1)]
    assert low < min(0, *ends)
    assert high > max(0, *ends)


@pytest.mark.parametrize(
    ("expect", "key", "words"),
    [
        ("better", "test/top1", "expected: better, to the right"),
        ("better", "test/nll", "expected: better, to the left"),
        ("worse", "test/top1", "expected: worse, to the left"),
        ("worse", "test/nll", "expected: worse, to the right"),
        ("as_good", "test/top1", "expected: as good, not beyond the shade to the left"),
        ("as_good", "test/nll", "expected: as good, not beyond the shade to the right"),
        ("same", "test/nll", "expected: the same weights, bit for bit, so no difference"),
    ],
)
def test_the_expected_direction_is_that_in_which_the_metric_gets_better(expect, key, words):
    margin = {} if expect == "same" else {"margin": 0.5}
    claim = asked(parts=[PART | {"expect": expect, "published": key, "fair": key} | margin])
    ((title, *_),) = panels(drawn(judged(claim, runs_of(claim, scores))))

    assert title.endswith(words)


def test_a_part_whose_metrics_improve_in_other_directions_has_a_panel_for_each():
    claim = asked(parts=[PART | {"expect": "better"} | TOP1 | {"fair": "test_ts/ece"}])
    titles = [title for title, *_ in panels(drawn(judged(claim, runs_of(claim, scores))))]

    assert sorted(title.rpartition("; ")[2] for title in titles) == [
        "expected: better, to the left",
        "expected: better, to the right",
    ]


def test_equal_weights_are_a_mark_at_zero_that_says_so():
    claim = asked("same")
    runs = [
        replace(run, tags=run.tags | {"weights_sha256": str(run.params["seed"])})
        for run in runs_of(claim, lambda _: {})
    ]
    ((_, labels, traces, shapes),) = panels(drawn(judged(claim, runs)))

    assert set(labels.values()) == {
        f"{title}: <b>✓ shown</b><br>same weights, 3 of 3" for title in TITLES.values()
    }
    assert [(trace.x[0], trace.error_x.array[0]) for trace in traces.values()] == [(0, 0)] * 2
    assert len(shapes) == 1  # no margin is shaded, since there is none


@pytest.mark.parametrize(("lost_seeds", "pairs"), [([0], 2), ([0, 1], 1), ([0, 1, 2], 0)])
def test_a_part_that_is_not_judged_is_a_grey_cross_or_says_that_it_has_no_pair(lost_seeds, pairs):
    claim = asked()
    runs = runs_of(claim, with_difference(-0.05))
    lost = [
        run for run in runs if run.params["loss"] == "focal" and run.params["seed"] in lost_seeds
    ]
    diverged = [Unfinished("", "t", run.params, "", reason="Diverged: NaN") for run in lost]
    kept = [run for run in runs if run not in lost]
    ((_, labels, traces, _),) = panels(drawn(judged(claim, kept, diverged)))

    assert [label.partition("<br>")[2] for label in labels.values()] == [
        f"not judged, {pairs} of 3 pairs"
    ] * 2
    assert len(traces) == (2 if pairs else 0)
    assert {trace.marker.symbol for trace in traces.values()} <= {"x"}
    assert {trace.marker.color for trace in traces.values()} <= {GREY}


def test_the_picture_is_told_in_words_for_who_cannot_see_it():
    claim = asked(parts=PARTS)
    judgement = judged(claim, runs_of(claim, scores))
    words = " ".join(picture.words for picture in drawn(judgement))

    for row in parts_table(judgement).rows:
        assert row[3] in words
    assert "other against ce by NLL as trained and after temperature scaling" in words
    assert "margin 0.01: as published " in words
    assert words.count("refuted") == sum(row[7] == "refuted" for row in parts_table(judgement).rows)


def test_the_picture_stands_between_the_verdict_and_the_tables():
    text = claim_page(claim_with_every_kind_of_part())
    verdict, source, chart, table = (
        text.index(words)
        for words in (
            "Verdict: ",
            "Source: ",
            'aria-label="Chart: difference',
            "What was expected</h3>",
        )
    )

    assert verdict < source < chart < table
    assert text.count(f"<figcaption>{CAPTION}") == 1  # of two charts
    assert text.count('aria-label="Chart: difference, ') == 2
