"""The keys of a sweep's design, the tag that a run keeps of them, and the combinations refused."""

import json

import pytest

from xent_bench.comparison.yardsticks import CHOICES, CHOOSE_BY, PRIMARY, YARDSTICKS
from xent_bench.config.annotations import TAKEN
from xent_bench.config.configure import ConfigError, check_top_level
from xent_bench.config.design_keys import CHOOSING, DECIDING, DEFAULTS, DESIGN, design_tag
from xent_bench.config.identity import run_folder
from xent_bench.runs.begun import load_begun
from xent_bench.runs.design import Design, design_of
from xent_bench.runs.files import RESULT
from xent_bench.runs.result import load_run
from xent_bench.training.run import run


def test_a_design_is_in_no_run_key(composed):
    designed = composed("trials=16", "rungs=3", "confirm=5")

    assert run_folder(designed) == run_folder(composed())


def test_the_defaults_of_the_config_are_no_design(composed):
    assert design_tag(composed()) == {}
    assert design_of({}) == Design() == Design(**DEFAULTS)
    assert not Design().has_rounds


def test_metrics_and_defaults_are_those_of_the_comparison():
    assert set(DECIDING) == {by.key for by in YARDSTICKS}
    assert set(CHOOSING) == set(CHOICES)
    assert Design().search_by == CHOOSE_BY
    assert Design().primary == PRIMARY
    assert DESIGN in TAKEN


def test_a_tag_states_what_differs_from_the_defaults(composed):
    searched = design_tag(composed("trials=16", "rungs=3", "confirm=5"))[DESIGN]
    decided = design_tag(composed("until=decided"))[DESIGN]

    assert json.loads(searched) == {"confirm": 5, "rungs": 3, "trials": 16}
    assert json.loads(decided) == {
        "until": "decided",
        "primary": "test_ts/nll",
        "baseline": "ce",
        "max_seeds": 30,
    }


def test_a_run_keeps_its_design_and_a_report_reads_it(config):
    designed = config("until=decided", "primary=test/top1", "max_seeds=8")
    run(designed)
    folder = run_folder(designed)

    for tags in (load_begun(folder).tags, load_run(folder / RESULT).tags):
        design = design_of(tags)
        assert design == Design(until="decided", primary="test/top1", max_seeds=8)
        assert design.is_sequential
        assert design.has_rounds


@pytest.mark.parametrize(
    "tag",
    ["", "[", "[]", '"a"', '{"trials": "16"}', '{"trials": true}', '{"rungs": null}', '{"x": 1}'],
)
def test_a_damaged_tag_is_no_design(tag):
    assert design_of({DESIGN: tag}) == Design()


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        (["search_by=val/top"], "search_by: expected one of val/top1, .*got 'val/top'"),
        (["primary=top1"], "primary: expected one of test/top1, .*got 'top1'"),
        (["sampler=tpe"], "sampler: does nothing without a search; expected trials=16"),
        (["trials=4", "sampler=tpe", "rungs=2"], "rungs: does nothing beside sampler=tpe"),
        (["primary=test/nll"], "primary: .*until=decided; .*xent-report --primary"),
        (["max_seeds=5"], "max_seeds: does nothing without until=decided"),
        (["until=decided", "confirm=2"], "confirm: does nothing beside until=decided"),
        (["until=decided", "max_seeds=1"], "max_seeds: expected at least 2, got 1"),
        (["trials=0"], "trials: "),
        (["rungs=0"], "rungs: "),
    ],
)
def test_a_key_that_is_wrong_or_idle_is_refused(composed, typed, complaint):
    with pytest.raises(ConfigError, match=complaint):
        check_top_level(composed(*typed))
