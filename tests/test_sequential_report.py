"""The report of a sweep that adds seeds until it knows: verdicts, looks, what is not claimed."""

import csv
import json

import pytest
from compared_losses import compared, contrast, unfinished
from scipy import stats
from written_run import edit, write_run

from xent_bench.commands.report import main
from xent_bench.comparison.by_hand import by_hand_note, false_rate, seeds_after
from xent_bench.comparison.compare import compare
from xent_bench.comparison.sequential import LOOKS, decide
from xent_bench.comparison.yardsticks import with_ties
from xent_bench.report.conclusion import conclusion
from xent_bench.report.design_words import looks_table
from xent_bench.report.notes import facts, warnings
from xent_bench.runs.result import load_runs
from xent_bench.runs.sweep_record import Sweep, save_sweep

KEY = "test/nll"
NOISE = (0.0, 0.012, -0.007, 0.004, -0.011, 0.009, 0.002, -0.005)  # of a seed, for every loss
JITTER = (0.001, -0.0013, 0.0004, 0.0007, -0.0009, 0.0002, -0.0005, 0.0011)  # of a loss
EFFECTS = {"ce": 0.0, "focal": -0.03, "mse": 0.0002, "mae": 0.006}
SEEDS = {"ce": 8, "focal": 3, "mse": 3, "mae": 8}
DESIGN = {"until": "decided", "primary": KEY, "baseline": "ce", "max_seeds": 30}


def score(loss: str, seed: int) -> float:
    jitter = JITTER[seed] if loss == "ce" else -JITTER[(3 * seed + len(loss)) % 8]
    return 0.4 + NOISE[seed] + EFFECTS[loss] + (10 if loss == "mae" else 0.2) * jitter


def write_sweep(root, seeds=SEEDS, design=DESIGN, **params):
    for loss, number in seeds.items():
        for seed in range(number):
            nll = score(loss, seed)
            scores = {KEY: nll, "test_ts/nll": nll - 0.01, "test/top1": 0.9 - nll / 10}
            tags = {"design": json.dumps(design)} if design else {}
            write_run(root, loss, seed, metrics=scores, tags=tags, **params)


def values(seeds=SEEDS) -> dict[str, list[float]]:
    return {loss: [score(loss, seed) for seed in range(n)] for loss, n in seeds.items()}


def report(capsys, *words) -> str:
    main([*map(str, words)])
    return " ".join(capsys.readouterr().out.split())


def test_the_verdicts_are_those_by_which_the_sweep_stopped(tmp_path):
    write_sweep(tmp_path)
    comparison = compared(tmp_path)
    decisions = {d.label: d for d in decide(values(), "ce", LOOKS, 0.01, -1)}

    assert [decisions[loss].verdict for loss in ("focal", "mse", "mae")] == [
        "better",
        "tie",
        "open",
    ]
    assert comparison.options.primary == KEY
    for loss, verdict in (("focal", "better"), ("mse", "tie within 0.01"), ("mae", "inconclusive")):
        of_loss = contrast(comparison, loss, KEY)
        assert (of_loss.verdict, of_loss.look) == (verdict, decisions[loss].look)
        assert of_loss.difference == decisions[loss].difference
        assert (of_loss.p, of_loss.p_tie) == (decisions[loss].p, decisions[loss].p_tie)


def test_the_conclusion_states_the_design_the_looks_and_what_is_open(tmp_path):
    write_sweep(tmp_path)
    text = conclusion(compared(tmp_path))

    assert "looks after 3, 5, 8, 12, 18 and 30 seeds" in text
    assert "Declared beforehand: NLL as trained as the primary metric, against ce." in text
    assert "better than ce: focal by 0.030 ± 0.0" in text
    assert "(look 1, 3 seeds) and mse (look 1, 3 seeds) ties with ce within 0.01." in text
    assert "Still open: mae after 8 seeds; the sweep's command, typed again, adds seeds" in text
    assert "--power" not in text


def test_seeds_that_are_spent_leave_a_loss_open(tmp_path):
    write_sweep(tmp_path, design=DESIGN | {"max_seeds": 8})

    assert "Open, with all 8 seeds spent: mae." in conclusion(compared(tmp_path))


def test_runs_beyond_the_look_that_decided_do_not_count(tmp_path):
    write_sweep(tmp_path / "some")
    write_sweep(tmp_path / "more", SEEDS | {"focal": 7, "mse": 8})
    some, more = compared(tmp_path / "some"), compared(tmp_path / "more")

    for loss in ("focal", "mse", "mae"):
        assert contrast(some, loss, KEY) == contrast(more, loss, KEY)
    assert any("do not count for its verdicts: focal 4, mse 5." in note for note in facts(more))
    assert not any("do not count" in note for note in facts(some))


def test_a_closed_loss_lacks_no_seeds_and_an_open_one_those_of_its_look(tmp_path):
    write_sweep(tmp_path, SEEDS | {"mae": 6})

    assert [(c.label, c.seed) for c in compared(tmp_path).empty_cells] == [
        ("mae", "6"),
        ("mae", "7"),
    ]


def test_every_interval_and_every_p_is_adjusted_for_the_looks(tmp_path):
    write_sweep(tmp_path / "declared")
    write_sweep(tmp_path / "fixed", design=None)
    declared, fixed = compared(tmp_path / "declared"), compared(tmp_path / "fixed")

    for loss in ("focal", "mse", "mae"):
        for key in ("test/top1", "test_ts/nll"):
            ours, theirs = (contrast(one, loss, key).difference for one in (declared, fixed))
            assert ours.mean == theirs.mean
            assert ours.half_width > theirs.half_width
            assert ours.p > theirs.p
    three, eight = (stats.t.ppf(0.975, n - 1) for n in (3, 8))
    for row, theirs in zip(
        sorted(declared.rows, key=lambda row: row.label),
        sorted(fixed.rows, key=lambda row: row.label),
        strict=True,
    ):
        wider = row.estimates[KEY].half_width / theirs.estimates[KEY].half_width
        level = 0.02577 * row.n / 30
        student = {3: three, 8: eight}[row.n]
        assert wider == pytest.approx(stats.t.ppf(1 - level / 2, row.n - 1) / student, rel=0.01)


def test_runs_without_a_design_are_compared_as_ever(tmp_path, capsys):
    write_sweep(tmp_path, design=None)
    comparison = compared(tmp_path)
    text = report(capsys, tmp_path, "--format", "csv")

    assert comparison.sequential is None
    assert comparison.options.primary == "test_ts/nll"
    assert "look" not in conclusion(comparison)
    assert "looks" not in text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--primary", "test_ts/nll"], "judged by test_ts/nll, where test/nll was declared"),
        (["--baseline", "mae"], "compared with mae, where ce was declared"),
        (["--tie", "nll=0.02"], "ties are within 0.02, where 0.01 was declared"),
    ],
)
def test_another_question_than_the_declared_one_is_the_first_thing_said(
    tmp_path, capsys, options, expected
):
    write_sweep(tmp_path)
    text = report(capsys, tmp_path, *options)

    assert f"In short. Not what this sweep declared: {expected}. So the error rates" in text
    assert "In at most 5 of 100" not in text


def test_what_is_declared_may_be_asked_for(tmp_path, capsys):
    write_sweep(tmp_path)

    assert "Not what" not in report(capsys, tmp_path, "--primary", KEY, "--baseline", "ce")


def test_different_designs_are_named_and_the_longest_decides(tmp_path):
    write_sweep(tmp_path, {"ce": 8, "focal": 3, "mae": 8}, DESIGN)
    write_sweep(tmp_path, {"mse": 3}, DESIGN | {"max_seeds": 12})
    comparison = compared(tmp_path)

    assert comparison.sequential.looks == LOOKS
    assert conclusion(comparison).startswith(
        "These runs declare different designs (primary=test/nll baseline=ce max_seeds=30; "
        "primary=test/nll baseline=ce max_seeds=12). So the error rates"
    )


def test_runs_outside_the_design_are_counted(tmp_path):
    write_sweep(tmp_path, {"ce": 8, "mae": 8}, DESIGN)
    write_sweep(tmp_path, {"focal": 3}, None)

    assert (
        "3 of the 19 runs on which these verdicts rest were trained outside this design"
        in conclusion(compared(tmp_path))
    )


@pytest.mark.parametrize(
    "tag",
    [
        *("{", "[]", '{"until": "decided", "primary": "test/none"}', '{"until": 1}'),
        *(f'{{"until": "decided", "max_seeds": {n}}}' for n in (-1, 1, 10_000_000_000)),
    ],
)
def test_a_damaged_tag_is_no_design(tmp_path, tag):
    for loss in ("ce", "mae"):
        for seed in range(3):
            write_run(tmp_path, loss, seed, metrics={KEY: score(loss, seed)}, tags={"design": tag})

    assert compared(tmp_path).sequential is None


def test_a_loss_with_a_failed_run_is_not_judged(tmp_path):
    write_sweep(tmp_path, SEEDS | {"mae": 2})
    unfinished(tmp_path, "mae", 2, "Diverged: the loss became nan")
    comparison = compared(tmp_path)

    assert contrast(comparison, "mae", KEY).verdict == "not judged"
    assert "Not judged, and given no more seeds, since a run failed" in conclusion(comparison)
    assert comparison.empty_cells == []
    assert contrast(comparison, "focal", KEY).verdict == "better"


def test_a_run_that_was_stopped_is_awaited(tmp_path):
    write_sweep(tmp_path, SEEDS | {"mae": 2})
    unfinished(tmp_path, "mae", 2, "killed")
    text = conclusion(compared(tmp_path))

    assert "Still open: mae before the first look" in text
    assert "Not judged" not in text


def test_a_loss_in_another_format_is_the_same_and_costs_nothing(tmp_path):
    write_sweep(tmp_path)
    alone = contrast(compared(tmp_path), "focal", KEY)
    for loss in ("ce", "sparse_ce"):
        for seed in range(3):
            folder = tmp_path / "tested" / f"{loss}-{seed}"
            if loss == "sparse_ce":
                scores = {KEY: score("ce", seed)}
                folder = write_run(tmp_path, loss, seed, metrics=scores)
            edit(folder, tags={"weights_sha256": f"net {seed}"})
    comparison = compared(tmp_path)

    assert contrast(comparison, "focal", KEY) == alone
    assert contrast(comparison, "sparse_ce", KEY).verdict == "same"


def test_of_a_tuned_loss_only_seeds_that_did_not_choose_count(tmp_path):
    """Seeds 0 and 1 search; 2, 3 and 4 are fresh."""
    rates = {"optimizer.lr": 0.2}
    for loss in ("ce", "focal"):
        for seed in range(5):
            scores = {KEY: score(loss, seed), "val/top1": 0.95}
            write_run(tmp_path, loss, seed, metrics=scores, tags={"design": json.dumps(DESIGN)})
        for seed in range(2):
            write_run(tmp_path, loss, seed, metrics={KEY: 9.0, "val/top1": 0.1}, **rates)
    comparison = compared(tmp_path)
    (decision,) = decide(
        {loss: [score(loss, seed) for seed in (2, 3, 4)] for loss in ("ce", "focal")},
        *("ce", LOOKS, 0.01, -1),
    )

    assert comparison.sequential.decisions["focal"] == decision
    assert contrast(comparison, "focal", KEY).difference == decision.difference
    assert comparison.sequential.courses.seeds == [2, 3, 4]


def test_the_tables_show_the_look_of_each_verdict(tmp_path, capsys):
    write_sweep(tmp_path)
    text = report(capsys, tmp_path, "--page", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()

    assert "loss pairs look" in text
    assert "focal 3 1 -0.030±" in text
    assert "mae 8 - " in text
    assert "Looks of the design" in page
    assert "better (look 1, 3 seeds)" in page
    assert looks_table(compared(tmp_path)).rows[0][:3] == ["focal better, mse tie", "1", "3"]


def test_the_csv_has_the_decisions_in_full(tmp_path, capsys):
    write_sweep(tmp_path)
    main([str(tmp_path), "--format", "csv"])
    rows = {row["loss"]: row for row in csv.DictReader(capsys.readouterr().out.splitlines())}

    assert rows["focal"]["looks"] == "3 5 8 12 18 30"
    assert (rows["focal"]["decision"], rows["focal"]["decided_at_look"]) == ("better", "1")
    assert (rows["mae"]["decision"], rows["mae"]["decided_at_look"]) == ("open", "")
    assert rows["ce"]["decision"] == ""
    assert rows["ce"]["as_declared"] == "True"


def test_power_says_what_both_designs_cost(tmp_path, capsys):
    write_sweep(tmp_path, {"ce": 8, "mae": 8, "mse": 8}, None)
    text = report(capsys, tmp_path, "--power", "0.1")
    table = text.partition("What 0.1 points of top-1 cost")[2]

    assert table.partition("all of these")[2]
    assert "Typed: until=decided primary=test/top1 max_seeds=" in table
    main([str(tmp_path), "--power", "0.1", "--format", "csv"])
    rows = {row["loss"]: row for row in csv.DictReader(capsys.readouterr().out.splitlines())}
    fixed = int(rows["mae"]["fixed seeds"])
    assert int(rows["mae"]["fixed runs"]) == 2 * fixed
    assert fixed < int(rows["mae"]["seeds"])  # where top-1 is secondary, more tests are made
    assert float(rows["mae"]["decided mean seeds"]) < int(rows["mae"]["decided most seeds"])
    assert "spread" in rows["mse"] or rows["mse"]


def test_ties_of_the_declared_margin_in_other_metrics_change_nothing(tmp_path):
    write_sweep(tmp_path)

    assert compared(tmp_path, yardsticks=with_ties({"top1": 0.3})).sequential.is_as_declared


def test_steps_by_hand_are_counted_where_they_add_seeds():
    assert seeds_after([(0, 1, 2), (0, 1, 2), range(10)]) == [3, 10]
    assert seeds_after([(0,), (0, 1)]) == [2]
    assert by_hand_note([(0, 1, 2), (0, 1, 2)]) == ""
    assert by_hand_note([]) == ""


def test_the_rate_of_a_look_by_hand_is_that_of_a_plain_simulation():
    import numpy as np

    values = np.random.default_rng(0).normal(size=(40_000, 10))
    significant = [stats.ttest_1samp(values[:, :n], 0, axis=1).pvalue < 0.05 for n in (3, 10)]

    assert false_rate([3, 10]) == pytest.approx(np.any(significant, axis=0).mean(), abs=0.005)
    assert "(3, then 7 more)" in by_hand_note([range(3), range(10)])
    assert "about 9 of 100 cases" in by_hand_note([range(3), range(10)])


def test_a_report_points_out_that_seeds_were_added_by_hand(tmp_path):
    write_sweep(tmp_path, {"ce": 8, "mae": 8}, None)
    save_sweep(tmp_path / "tested", Sweep(None, "xent-train", [], earlier=((0, 1, 2),)))

    assert any(
        "Seeds were added in 2 steps (3, then 5 more)" in f for f in facts(compared(tmp_path))
    )


@pytest.mark.parametrize("earlier", [(), (tuple(range(8)),)])
def test_seeds_of_one_step_are_no_looks_by_hand(tmp_path, earlier):
    write_sweep(tmp_path, {"ce": 8, "mae": 8}, None)
    save_sweep(tmp_path / "tested", Sweep(None, "xent-train", [], earlier=earlier))

    assert not any("Seeds were added" in fact for fact in facts(compared(tmp_path)))


def test_in_a_folder_with_other_comparisons_no_steps_are_told(tmp_path):
    write_sweep(tmp_path, {"ce": 8, "mae": 8}, None)
    write_run(tmp_path, "ce", 0, epochs=7)
    save_sweep(tmp_path / "tested", Sweep(None, "xent-train", [], earlier=((0, 1, 2),)))
    texts = [fact for one in compare(load_runs(tmp_path)) for fact in facts(one)]

    assert not any("Seeds were added" in text for text in texts)


def test_no_warning_is_made_of_a_design_that_went_as_declared(tmp_path):
    write_sweep(tmp_path)

    assert warnings(compared(tmp_path)) == []
