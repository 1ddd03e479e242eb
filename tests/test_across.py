"""The order of losses under several conditions of the data."""

from pathlib import Path

import pytest
from scipy.stats import ttest_rel
from written_run import write_run

from xent_bench.commands import report as command
from xent_bench.comparison.across import across, parts_of
from xent_bench.comparison.compare import compare
from xent_bench.report.across_table import across_sentence, across_tables
from xent_bench.runs.result import load_runs

NOISE = {"noise": "symmetric", "noise.rate": 0.4}
WORSE = (0.02, 0.0215, 0.0183)  # added to the scores of three seeds: NLL rises, and so does top-1


def write_pair(folder: Path, sign: int, **conditions: object) -> None:
    """Write three runs of ce and three of gce, whose NLL is larger (1) or smaller (-1)."""
    for seed, delta in enumerate(WORSE):
        write_run(folder, "ce", seed, 0.001 * seed, **conditions)
        write_run(folder, "gce", seed, 0.001 * seed + sign * delta, **conditions)


def test_a_loss_that_is_worse_as_it_is_and_better_with_noise_changes_places(tmp_path):
    write_pair(tmp_path, 1)
    write_pair(tmp_path, -1, **NOISE)
    (conditions,) = across(compare(load_runs(tmp_path)))
    p = ttest_rel([0.4 + delta for delta in WORSE], [0.4] * 3).pvalue
    changes = {change.metric: change for change in conditions.changes}
    assert set(changes) == {"test_ts/nll", "test/top1"}  # two tests, so Holm doubles the smaller
    assert changes["test_ts/nll"].p == pytest.approx(2 * p)
    assert changes["test_ts/nll"].better_in_reference is False
    assert changes["test/top1"].better_in_reference is True  # more top-1 is better
    assert [condition.words for condition in conditions.conditions] == [
        "as it is",
        "symmetric noise 0.4",
    ]
    nll, top1 = across_tables(conditions)
    assert nll.rows == [
        ["ce", "0.401 (1) ", "0.401 (2) "],
        ["gce", "0.421 (2) ", "0.381 (1)⇅"],
    ]
    assert top1.headings == ["loss", "as it is", "symmetric noise\n0.4"]
    assert (
        "gce is worse on the data as it is and better with symmetric noise 0.4, in NLL after "
        "temperature scaling"
    ) in across_sentence(conditions)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_order_that_stays_is_not_said_to_change(tmp_path, sign):
    write_pair(tmp_path, sign)
    write_pair(tmp_path, sign, **NOISE)
    (conditions,) = across(compare(load_runs(tmp_path)))
    assert not conditions.changes
    assert across_sentence(conditions).startswith("No loss is shown to change places with ce")


def test_an_order_that_turns_by_chance_is_not_said_to_change(tmp_path):
    for seed, (before, after) in enumerate([(0.02, -0.03), (0.01, 0.02), (0.02, -0.02)]):
        write_run(tmp_path, "ce", seed)
        write_run(tmp_path, "gce", seed, before)
        write_run(tmp_path, "ce", seed, **NOISE)
        write_run(tmp_path, "gce", seed, after, **NOISE)
    (conditions,) = across(compare(load_runs(tmp_path)))
    assert not conditions.changes


def test_without_the_clean_data_nothing_is_tested(tmp_path):
    write_pair(tmp_path, 1, **NOISE)
    write_pair(tmp_path, -1, **NOISE | {"noise.rate": 0.8})
    (conditions,) = across(compare(load_runs(tmp_path)))
    assert not conditions.changes
    assert "not tested" in across_sentence(conditions)


def test_settings_that_differ_in_more_than_conditions_are_apart(tmp_path):
    write_pair(tmp_path, 1)
    write_pair(tmp_path, -1, **NOISE, epochs=9)
    assert across(compare(load_runs(tmp_path))) == []


def test_a_condition_that_all_have_is_a_part_of_the_setting(tmp_path):
    write_pair(tmp_path, 1, train_fraction=0.2)
    write_pair(tmp_path, -1, train_fraction=0.2, **NOISE)
    (conditions,) = across(compare(load_runs(tmp_path)))
    assert conditions.title.endswith("digits with cnn, 20 % of train")
    assert conditions.has_reference
    assert [change.loss for change in conditions.changes] == ["gce", "gce"]


def test_rates_of_one_kind_of_noise_are_named_by_what_differs(tmp_path):
    write_pair(tmp_path, 1, **NOISE)
    write_pair(tmp_path, -1, **NOISE | {"noise.rate": 0.8})
    (conditions,) = across(compare(load_runs(tmp_path)))
    assert [condition.words for condition in conditions.conditions] == ["noise 0.4", "noise 0.8"]
    assert "with cnn, symmetric noise" in conditions.title
    assert not conditions.has_reference


def test_one_loss_alone_changes_no_places(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, "ce", seed)
        write_run(tmp_path, "ce", seed, **NOISE)
    assert across(compare(load_runs(tmp_path))) == []


def test_groups_of_other_settings_are_named_by_what_differs(tmp_path):
    for epochs in (3, 9):
        write_pair(tmp_path, 1, epochs=epochs)
        write_pair(tmp_path, -1, epochs=epochs, **NOISE)
    titles = [conditions.title for conditions in across(compare(load_runs(tmp_path)))]
    assert titles == [f"tested: digits with cnn, epochs={epochs}" for epochs in (3, 9)]


def test_other_numbers_of_seeds_are_pointed_out(tmp_path):
    write_pair(tmp_path, 1)
    write_pair(tmp_path, -1, **NOISE)
    write_run(tmp_path, "ce", 7)
    (conditions,) = across(compare(load_runs(tmp_path)))
    assert "Means are over 3 to 4 seeds" in across_tables(conditions)[0].notes[0]


def test_conditions_are_put_into_words():
    assert parts_of({"loss": "ce"}) == ["as it is"]
    assert parts_of({"noise": "pair", "noise.rate": 0.2, "noise.val": "clean"}) == [
        "pair noise 0.2 val=clean"
    ]
    tail = {"imbalance": "exponential", "imbalance.ratio": "100.0", "train_fraction": 0.1}
    assert parts_of(tail) == ["exponential tail 100", "10 % of train"]
    assert parts_of({"target": "majority"}) == ["majority labels"]


def test_the_report_shows_conditions_in_the_terminal_and_on_the_page(tmp_path, monkeypatch, capsys):
    write_pair(tmp_path, 1)
    write_pair(tmp_path, -1, **NOISE)
    page = tmp_path / "page.html"
    monkeypatch.setattr("sys.argv", ["xent-report", str(tmp_path), "--page", str(page)])
    command.main()
    text = " ".join(capsys.readouterr().out.split())
    assert "under 2 conditions" in text
    assert "Changed places with ce" in text
    html = page.read_text(encoding="utf-8")
    assert "Changed places with ce" in html
    assert "⇅" in html
