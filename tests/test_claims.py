"""Published claims: their files, the place of runs in a design, and the verdicts."""

import re
from itertools import product
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from hydra import compose, initialize_config_dir
from scipy.stats import ttest_rel
from statsmodels.stats.multitest import multipletests

from xent_bench.claims.cells import Cells, all_cells, cells_of, compose_arms
from xent_bench.claims.declared import Edits
from xent_bench.claims.judge import (
    ONLY_AS_PUBLISHED,
    judge,
    overall,
    verdict_by,
)
from xent_bench.claims.outputs import check_outputs
from xent_bench.claims.read import claim_files, find_claim, read_claim
from xent_bench.claims.schema import Claim, hash_of
from xent_bench.claims.standing import Standing
from xent_bench.claims.sweep import Asked, sweeps
from xent_bench.config.parts import checked
from xent_bench.config.schema import CONF
from xent_bench.failures import UsageError
from xent_bench.report.claim_words import remarks
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run

FILES = claim_files(None)
KEYS = ("test/top1", "test/nll", "test_ts/nll", "test/ece", "test_ts/ece", "val/nll", "val/top1")
PART = {
    "says": "-",
    "arm": "other",
    "against": "ce",
    "published": "test/nll",
    "fair": "test_ts/nll",
}
RULES = {
    "replicated": "all_shown",
    "not_replicated": "any_refuted",
    "only_as_published": "fair_not_replicated",
}


def content(expect="better", **changes):
    """A claim on two arms with two learning rates and three seeds."""
    design = {
        "setting": "data=digits model=mlp epochs=2",
        "seeds": 3,
        "tuning": {"optimizer.lr": [0.001, 0.01]},
        "published": {"optimizer.lr": 0.01},
    }
    return {
        "claim": "The other loss is better.",
        "sources": [{"authors": "Nobody", "year": 2020, "title": "None"}],
        "shown_on": "nothing",
        "arms": {"ce": "loss=ce", "other": "loss=focal loss.gamma=3"},
        "sizes": {"cpu": design},
        "parts": [PART | {"expect": expect} | ({} if expect == "same" else {"margin": 0.01})],
        "rules": RULES,
        "mechanism": "nothing",
    } | changes


def asked(expect="better", **changes) -> Asked:
    claim = Claim.model_validate(content(expect, **changes))
    return Asked("tested", claim, "cpu", hash_of(claim.decisive("cpu")))


def params_of(asked: Asked, arm: str) -> dict[str, object]:
    words = dict(word.split("=") for word in asked.claim.arms[arm].split())
    return {"data": "digits", "model": "mlp", "optimizer.lr": 0.01, "seed": 0} | words


def runs_of(asked: Asked, score) -> list[Run]:
    """A run in each cell, with `score(cell)` by every metric."""
    runs = []
    for cell in all_cells(asked):
        params = params_of(asked, cell.arm) | dict(cell.hyper) | {"seed": cell.seed}
        metrics = dict.fromkeys(KEYS, 0.5) | score(cell)
        tags = {"key": str(cell), "weights_sha256": f"{cell.arm} {cell}"}
        runs.append(Run(str(cell), "tested", params, metrics, tags, "xent-train", 359, 1.0))
    return runs


def judged(asked: Asked, runs: list[Run], unfinished=()):
    arms = {arm: params_of(asked, arm) for arm in asked.claim.arms}
    return judge(asked, cells_of(asked, arms, runs, list(unfinished)), arms)


def with_difference(difference, key="test_ts/nll"):
    """Scores of the other arm that differ by so much from those of ce; lr=0.01 is the best."""

    def score(cell):
        jitter = (0.0, 0.001, -0.0007)[cell.seed % 3]
        by_lr = 0.0 if dict(cell.hyper)["optimizer.lr"] == 0.01 else 0.2
        value = 0.5 + by_lr + 0.01 * cell.seed + (cell.arm == "other") * (difference + jitter)
        return {key: value, "val/nll": 0.5 + by_lr}

    return score


@pytest.mark.parametrize("size", ["cpu", "gpu"])
@pytest.mark.parametrize("file", FILES.values(), ids=lambda file: file.stem)
def test_every_claim_composes_and_each_of_its_runs_has_one_place_in_the_design(file, size):
    claim = read_claim(file)
    asked = Asked(file.stem, claim, size, hash_of(claim.decisive(size)))
    arms = compose_arms(asked, None)

    assert len({str(sorted(params.items())) for params in arms.values()}) == len(arms)
    for arm, words in claim.arms.items():
        (*_, point) = asked.design.points()
        tuned = [f"{key}={value}" for key, value in point]
        words = [*asked.design.setting.split(), *words.split(), *tuned, "seed=1"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            checked(compose("train", words))
        params = arms[arm] | dict(point) | {"seed": 1}
        run = Run("", "", params, {}, {}, "", 1, 1.0)
        placed = cells_of(asked, arms, [run], []).runs
        assert [(cell.arm, cell.hyper, cell.seed) for cell in placed] == [(arm, point, 1)]


@pytest.mark.parametrize("file", FILES.values(), ids=lambda file: file.stem)
def test_the_sweeps_of_a_claim_are_its_design(file):
    claim = read_claim(file)
    asked = Asked(file.stem, claim, "cpu", "sha256-0")
    counted = 0
    for words in sweeps(asked):
        values = dict(word.split("=", 1) for word in words[1:])
        swept = [values[key].split(",") for key in ("loss", "optimizer.lr", "seed")]
        counted += len(list(product(*swept)))
        assert values["name"] == f"claim-{file.stem}"
        assert "claim_rules: sha256-0" in values["tags"]

    assert counted == asked.number_of_runs == len(all_cells(asked))


def test_the_page_of_the_claims_names_each_of_them():
    page = (ROOT / "conf/claims/README.md").read_text()
    claims, verdicts = (
        re.findall(r"^\| `([\w-]+)` \|", page.partition(heading)[2].partition("\n## ")[0], re.M)
        for heading in ("## The claims", "## Verdicts so far")
    )

    assert sorted(claims) == sorted(FILES)
    assert set(verdicts) <= set(FILES)


def test_p_values_are_those_of_scipy_and_statsmodels_corrected_over_the_parts():
    parts = [
        PART | {"expect": "better", "margin": 0.01},
        PART | {"expect": "worse", "margin": 0.5, "published": "test/ece", "fair": "test_ts/ece"},
    ]
    claim = asked(parts=parts)

    def score(cell):
        other, seed = cell.arm == "other", cell.seed
        return {
            "test/nll": 0.5 + 0.01 * seed - other * (0.01, 0.02, 0.04)[seed],
            "test/ece": 0.05 + 0.01 * seed + other * (0.01, 0.013, 0.008)[seed],
        }

    runs = runs_of(claim, score)
    result = judged(claim, runs).published
    published = [run for run in runs if run.params["optimizer.lr"] == 0.01]
    by_arm = {
        loss: [run.metrics for run in published if run.params["loss"] == loss]
        for loss in ("ce", "focal")
    }
    ps = [
        ttest_rel(*([metrics[key] for metrics in by_arm[loss]] for loss in ("focal", "ce"))).pvalue
        for key in ("test/nll", "test/ece")
    ]

    assert [tested.p for tested in result.parts] == pytest.approx(
        multipletests(ps, method="holm")[1]
    )
    assert [tested.verdict for tested in result.parts] == ["inconclusive", "worse"]
    assert [tested.outcome for tested in result.parts] == ["open", "shown"]
    assert result.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("expect", "difference", "outcome"),
    [
        ("better", -0.05, "shown"),
        ("better", 0.05, "refuted"),
        ("better", 0.0, "refuted"),  # a tie within 0.01
        ("worse", 0.05, "shown"),
        ("worse", -0.05, "refuted"),
        ("as_good", 0.0, "shown"),
        ("as_good", -0.05, "shown"),
        ("as_good", 0.05, "refuted"),
        ("as_good", 0.011, "open"),  # worse, and not shown to be by more than the margin
        ("same", 0.0, "refuted"),
    ],
)
def test_a_verdict_shows_refutes_or_leaves_open_what_is_expected(expect, difference, outcome):
    claim = asked(expect)
    (part,) = judged(claim, runs_of(claim, with_difference(difference))).fair.parts

    assert part.outcome == outcome


def test_equal_weights_in_all_pairs_show_that_two_losses_are_one():
    claim = asked("same")
    runs = runs_of(claim, with_difference(0.0))
    same = [
        Run(**run.content() | {"tags": run.tags | {"weights_sha256": run.tags["key"][-60:]}})
        for run in runs
    ]
    by_seed = [
        Run(**run.content() | {"tags": run.tags | {"weights_sha256": str(run.params["seed"])}})
        for run in same
    ]
    (part,) = judged(claim, by_seed).fair.parts

    assert (part.verdict, part.outcome, part.equal_pairs) == ("same", "shown", 3)


def test_a_claim_that_scaling_takes_away_holds_only_under_the_papers_protocol():
    claim = asked()

    def score(cell):
        return with_difference(0.0)(cell) | {"test/nll": with_difference(-0.1)(cell)["test_ts/nll"]}

    judgement = judged(claim, runs_of(claim, score))

    assert (judgement.published.verdict, judgement.fair.verdict) == ("replicated", "not replicated")
    assert judgement.verdict == ONLY_AS_PUBLISHED


@pytest.mark.parametrize(
    ("replicated", "not_replicated", "outcomes", "verdict"),
    [
        ("all_shown", "any_refuted", ["shown", "shown", "shown"], "replicated"),
        ("all_shown", "any_refuted", ["shown", "open", "shown"], "inconclusive"),
        ("all_shown", "any_refuted", ["shown", "refuted", "open"], "not replicated"),
        ("most_shown", "most_refuted", ["shown", "refuted", "shown"], "replicated"),
        ("most_shown", "most_refuted", ["refuted", "refuted", "shown"], "not replicated"),
        ("most_shown", "most_refuted", ["refuted", "open", "shown"], "inconclusive"),
        ("any_shown", "all_refuted", ["refuted", "open", "shown"], "replicated"),
        ("any_shown", "all_refuted", ["refuted", "refuted", "open"], "inconclusive"),
        ("any_shown", "all_refuted", ["refuted", "refuted", "refuted"], "not replicated"),
    ],
)
def test_the_rules_turn_outcomes_into_a_verdict(replicated, not_replicated, outcomes, verdict):
    rules = RULES | {"replicated": replicated, "not_replicated": not_replicated}
    claim = asked(rules=rules).claim

    assert verdict_by(claim.rules, outcomes) == verdict


def test_the_fair_protocol_decides():
    rules = asked().claim.rules
    never = asked(rules=RULES | {"only_as_published": "never"}).claim.rules

    assert overall(rules, "not replicated", "replicated") == "replicated"
    assert overall(rules, "inconclusive", "not replicated") == "not replicated"
    assert overall(never, "replicated", "not replicated") == "not replicated"


def test_runs_that_the_design_does_not_have_count_in_no_verdict():
    claim = asked()
    arms = {arm: params_of(claim, arm) for arm in claim.claim.arms}
    runs = runs_of(claim, with_difference(0.0))
    foreign = [
        {"seed": 7},
        {"optimizer.lr": 0.5},
        {"epochs": 99},
        {"augmentation.mixup": 0.2},
        {"loss": "hinge"},
    ]
    others = [Run(**runs[0].content() | {"params": runs[0].params | change}) for change in foreign]
    cells = cells_of(claim, arms, [*runs, *others], [])

    assert list(cells.runs.values()) == runs
    assert cells.strangers == len(foreign)
    assert cells.is_complete()


def test_a_run_that_diverged_is_a_trial_that_lost_and_one_that_was_killed_is_missing():
    claim = asked()
    arms = {arm: params_of(claim, arm) for arm in claim.claim.arms}
    *runs, last = runs_of(claim, with_difference(0.0))

    def cells(reason):
        return cells_of(
            claim, arms, runs, [Unfinished("", "tested", last.params, "", reason=reason)]
        )

    assert cells("Diverged: the loss is nan").is_complete()
    assert len(cells("killed").open()) == 1
    assert len(cells_of(claim, arms, runs, []).open()) == 1


@pytest.mark.parametrize("arm", ["ce", "focal"])
def test_a_part_that_lacks_a_pair_because_a_run_diverged_is_not_judged(arm):
    claim = asked()
    runs = runs_of(claim, with_difference(-0.05))
    lost = [run for run in runs if (run.params["loss"], run.params["seed"]) == (arm, 0)]
    diverged = [
        Unfinished("", "tested", run.params, "", reason="Diverged: the loss is nan") for run in lost
    ]
    judgement = judged(claim, [run for run in runs if run not in lost], diverged)

    for under in judgement.protocols:
        (part,) = under.parts
        assert (part.difference.n, part.verdict, part.outcome) == (2, "not judged", "open")
    assert judgement.verdict == "inconclusive"


def test_the_order_of_the_published_values_does_not_count():
    tuning = {"optimizer.lr": [0.001, 0.01], "clip_norm": [1, 2]}
    published = {"clip_norm": 2, "optimizer.lr": 0.01}
    claim = asked(sizes={"cpu": DESIGN | {"tuning": tuning, "published": published}})
    judgement = judged(claim, runs_of(claim, with_difference(-0.05)))

    assert [row.n for row in judgement.published.comparison.rows] == [3, 3]


def test_what_decides_a_verdict_is_hashed_and_nothing_else():
    def hashed(**changes):
        return hash_of(Claim.model_validate(content(**changes)).decisive("cpu"))

    design = content()["sizes"]["cpu"]
    neutral = [
        {"shown_on": "elsewhere"},
        {"sources": [{"authors": "Somebody", "year": 2021, "title": "None"}]},
        {"sizes": {"gpu": design, "cpu": design | {"published": {"optimizer.lr": 1e-2}}}},
    ]
    decisive = [
        {"claim": "The other loss is worse."},
        {"arms": {"ce": "loss=ce", "other": "loss=focal loss.gamma=4"}},
        {"sizes": {"cpu": design | {"seeds": 4}}},
        {"parts": [PART | {"expect": "better", "margin": 0.02}]},
        {"rules": RULES | {"not_replicated": "all_refuted"}},
    ]

    assert {hashed(**changes) for changes in neutral} == {hashed()}
    assert len({hashed(), *(hashed(**changes) for changes in decisive)}) == 1 + len(decisive)


DESIGN = content()["sizes"]["cpu"]
MISTAKES = [
    ({"rule": RULES}, "rule: no such key; did you mean rules?"),
    ({"parts": [PART | {"expect": "beter", "margin": 1}]}, "parts.0.expect: "),
    ({"parts": [PART | {"expect": "better"}]}, "margin: expected one"),
    ({"parts": [PART | {"expect": "same", "margin": 1}]}, "margin: expected one, except"),
    (
        {"parts": [PART | {"expect": "better", "margin": 1, "fair": "test/accuracy"}]},
        "test/accuracy: no metric on test that has a better direction",
    ),
    (
        {"parts": [PART | {"expect": "better", "margin": 1, "fair": "val/nll"}]},
        "val/nll: no metric on test",
    ),
    (
        {"parts": [PART | {"expect": "better", "margin": 1, "arm": "hinge"}]},
        "parts.0: hinge is not among the arms",
    ),
    (
        {"parts": [PART | {"expect": "better", "margin": 1, "fair": "foreign/*/auroc_confidence"}]},
        "sizes.cpu.setting: expected foreign=[SET] for parts.0",
    ),
    ({"arms": {"ce": "loss=ce", "other": "loss.gamma=3"}}, "arms.other: expected one loss=NAME"),
    ({"arms": {"ce": "loss=ce"}}, "arms: "),
    ({"sizes": {"cpu": DESIGN | {"setting": "seed=3"}}}, "seed is set by the design"),
    ({"sizes": {"cpu": DESIGN | {"setting": "epochs=1,2"}}}, "one value each, got 'epochs=1,2'"),
    ({"sizes": {"cpu": DESIGN | {"tuning": {"epochs": [1, 2]}}}}, "tuning: expected optimizer.KEY"),
    ({"sizes": {"cpu": DESIGN | {"seeds": 1}}}, "sizes.cpu.seeds: "),
    ({"sizes": {"cpu": DESIGN | {"seed": 1}}}, "sizes.cpu.seed: no such key; did you mean seeds?"),
    (
        {"sizes": {"cpu": DESIGN | {"published": {"optimizer.lr": 3}}}},
        "published.optimizer.lr: expected one of [0.001, 0.01]",
    ),
    ({"sizes": {"cpu": DESIGN | {"choose_by": "test/nll"}}}, "choose_by: expected one of val/"),
    ({"sizes": {"cpu": DESIGN | {"tuning": {}, "published": {}}}}, "sizes.cpu.tuning: "),
    (
        {"sizes": {"cpu": DESIGN | {"setting": "data=digits optimizer.lr=0.1"}}},
        "sizes.cpu: setting: optimizer.lr is tuned",
    ),
    (
        {"arms": {"ce": "loss=ce", "other": "loss=focal optimizer.lr=0.1"}},
        "arms.other: optimizer.lr is tuned at sizes.cpu",
    ),
    (
        {"sizes": {"cpu": DESIGN | {"tuning": {"optimizer.lr": ["1e-3"]}}}},
        "sizes.cpu.tuning.optimizer.lr.0: expected a finite number, got '1e-3'; YAML takes it for ",
    ),
    ({"sizes": {"cpu": DESIGN | {"seeds": "5"}}}, "sizes.cpu.seeds: Input should be a valid"),
    ({"sizes": {"gpu": DESIGN}}, "sizes: expected a size cpu"),
    ({"claim": None}, "claim: "),
]


@pytest.mark.parametrize(("changes", "complaint"), MISTAKES, ids=lambda part: str(part)[:40])
def test_a_mistake_in_a_file_is_one_line_that_names_it(changes, complaint, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content() | changes))
    with pytest.raises(UsageError) as refused:
        read_claim(file)

    assert complaint in str(refused.value)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["claim: [1", "- a\n- b\n", "", "claim: a\nclaim: b\n", "a: \x00"])
def test_a_file_that_is_no_claim_is_refused_by_its_name(text, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=re.escape(str(file))):
        read_claim(file)


def test_rates_of_error_are_said_of_claims_that_have_a_margin():
    def said(expect):
        cells = Cells({}, {}, [], 0)
        return remarks(Standing(asked(expect), cells, None, Edits("", [], 0)))[-1]

    assert said("better").startswith("Of claims that are false at most 5 of 100")
    assert said("same") == "Weights are compared bit for bit: nothing is estimated."


@pytest.mark.parametrize("name", ["a,b", "my claim", "{x}", "it's", "null", "3", "x" * 61])
def test_a_name_that_a_command_cannot_have_is_refused(name):
    with pytest.raises(UsageError, match="expected a file's name"):
        find_claim(name, {name: Path("conf", f"{name}.yaml")})


def test_two_arms_with_the_same_runs_are_refused():
    twins = asked(arms={"ce": "loss=ce", "other": "loss=ce"})

    with pytest.raises(UsageError, match="expected arms whose runs differ, got ce and other"):
        compose_arms(twins, None)


@pytest.mark.parametrize(
    ("design", "part", "complaint"),
    [
        ({}, {"published": "test/top1", "fair": "test/top1"}, "choose_by: .* no val/nll"),
        ({"choose_by": "val/top1"}, {}, "parts.0.published: .* no test/nll"),
    ],
)
def test_a_metric_that_a_hinge_does_not_have_is_refused_before_training(design, part, complaint):
    claim = asked(
        arms={"ce": "loss=ce", "other": "loss=hinge"},
        sizes={"cpu": DESIGN | design},
        parts=[PART | {"expect": "better", "margin": 1} | part],
    )

    with pytest.raises(UsageError, match=complaint):
        check_outputs(claim, None)


def test_a_claim_on_a_hinge_by_metrics_that_it_has_is_not_refused():
    claim = asked(
        arms={"ce": "loss=ce", "other": "loss=hinge"},
        sizes={"cpu": DESIGN | {"choose_by": "val/top1"}},
        parts=[PART | {"expect": "better", "margin": 1, "published": "test/auroc_correct"}],
    )

    check_outputs(claim, None)


def test_a_claim_of_your_own_hides_ours_of_the_same_name(tmp_path):
    folder = Path(tmp_path, "claims")
    folder.mkdir()
    for name in ("mine", "kl-beats-ce"):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content()))

    files = claim_files(tmp_path)

    assert files["mine"].parent == files["kl-beats-ce"].parent == folder
    assert files.keys() == {*FILES, "mine"}
