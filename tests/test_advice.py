"""The decision card: what it recommends, by which evidence, and what it says without any."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import ttest_rel
from written_run import write_run

from xent_bench.advice.card import Card, advise
from xent_bench.advice.needs import Needs
from xent_bench.advice.offer import Offer
from xent_bench.advice.shift_means import with_shift_means
from xent_bench.advice.tasks import Conditions, gaps
from xent_bench.advice.typed import typed
from xent_bench.comparison.stats import holm
from xent_bench.report.advice_card import record, show
from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.result import Run, load_runs

OFFER = Offer(["ce", "gce", "sce", "mse", "hinge", "nce_rce", "taylor_ce"], ["digits"], ["cnn"], {})
SURE = (-0.1, -0.101, -0.099)  # lower by 0.1 with each of three seeds
UNSURE = (-0.3, 0.1, -0.1)  # a lower mean, which shows nothing
NOISY = {"noise": "symmetric", "noise.rate": 0.4}


def write(root: Path, loss: str, deltas: Sequence[float] = (0, 0, 0), **params: object) -> None:
    """Write a run of a loss for each difference of its scores to those of ce."""
    for seed, delta in enumerate(deltas):
        write_run(root, loss, seed, 0.001 * seed + delta, **params)


def card(root: Path, **needs: object) -> Card:
    has_runs = any(root.rglob("result.json"))
    runs = load_runs(root) if has_runs else []
    return advise(runs, load_unfinished(root), Needs(**needs), OFFER)


def why(of_card: Card) -> str:
    return " ".join(record(of_card)["why"])


def words(of_card: Card) -> dict[str, str]:
    """The verdicts of the first task by loss."""
    return {verdict.label: verdict.word for verdict in of_card.verdicts[0]}


def test_a_loss_that_is_shown_to_be_better_takes_the_baselines_place(tmp_path):
    write(tmp_path, "ce")
    write(tmp_path, "gce", SURE)
    write(tmp_path, "mse", UNSURE)
    advice = card(tmp_path)
    base = [0.4, 0.401, 0.402]
    values = {"gce": SURE, "mse": UNSURE}
    ps = holm(
        [
            ttest_rel([b + d for b, d in zip(base, of_loss, strict=True)], base).pvalue
            for of_loss in values.values()
        ]
    )

    assert advice.pick.loss == "gce"
    assert advice.pick.displaces
    assert {v.label: v.p for v in advice.verdicts[0]} == {
        label: pytest.approx(p) for label, p in zip(values, ps, strict=True)
    }
    assert words(advice) == {"gce": "better", "mse": "inconclusive"}
    assert why(advice).startswith(
        "Shown to be better than ce in NLL after temperature scaling, by 0.100 ± 0.002."
    )


def test_the_best_mean_alone_leaves_the_baseline_where_it_is(tmp_path):
    write(tmp_path, "ce")
    write(tmp_path, "mse", UNSURE)
    write(tmp_path, "hinge", [0.1, 0.101, 0.099])
    advice = card(tmp_path)

    assert advice.pick.loss == "ce"
    assert not advice.pick.displaces
    assert "which is no proof that it is the best. Worse: hinge; undecided: mse." in why(advice)


def test_over_several_tasks_p_is_multiplied_by_their_number(tmp_path):
    barely = (-0.1, -0.11, -0.12)  # p = 0.003 for one task
    for place, data in enumerate(("a", "b", "c")):
        write(tmp_path, "ce", data=data)
        write(tmp_path, "gce", barely if place == 0 else UNSURE, data=data)
    advice = card(tmp_path)
    p = ttest_rel([0.4 + d for d in barely], [0.4, 0.4, 0.4]).pvalue

    assert advice.verdicts[0][0].p == pytest.approx(3 * p)
    assert advice.pick.loss == "gce"
    assert "by 0.110 ± 0.025 on task 1. On none of the 3 tasks it is shown to be worse." in why(
        advice
    )
    assert card(tmp_path, data="b").pick.loss == "ce"


def test_a_loss_that_is_better_here_and_worse_there_is_not_recommended(tmp_path):
    for data, sign in (("a", 1), ("b", -1)):
        write(tmp_path, "ce", data=data)
        write(tmp_path, "gce", [sign * delta for delta in SURE], data=data)
    advice = card(tmp_path)

    assert advice.pick.loss == "ce"
    assert advice.pick.mixed == ["gce"]
    assert "Better on one task and worse on another: gce; --data or --model picks a task." in why(
        advice
    )
    assert card(tmp_path, data="a").pick.loss == "gce"


def test_of_losses_that_are_better_and_not_told_apart_the_simplest_one_is_recommended(tmp_path):
    write(tmp_path, "ce")
    write(tmp_path, "gce", [-0.1, -0.102, -0.099], **{"loss.q": 0.7})
    write(tmp_path, "mse", [-0.099, -0.1, -0.1])
    advice = card(tmp_path)

    assert (advice.pick.loss, advice.pick.alike) == ("mse", ["gce"])
    assert "So is gce; between these losses nothing is shown, and mse has the fewest" in why(advice)


def test_a_better_loss_that_another_one_beats_is_left_out(tmp_path):
    write(tmp_path, "ce")
    write(tmp_path, "gce", SURE, **{"loss.q": 0.7})
    write(tmp_path, "mse", [-0.05, -0.0501, -0.0499])
    advice = card(tmp_path)

    assert words(advice) == {"gce": "better", "mse": "better"}
    assert (advice.pick.loss, advice.pick.alike) == ("gce", [])


@pytest.mark.parametrize(
    ("conditions", "needs", "matches"),
    [
        (Conditions(0.0, "", 1.0), {}, True),
        (Conditions(0.0, "", 1.0), {"noise": 0.05}, False),
        (Conditions(0.05, "pair", 1.0), {}, False),
        (Conditions(0.2, "pair", 1.0), {"noise": 0.3}, True),
        (Conditions(0.2, "pair", 1.0), {"noise": 0.31}, False),
        (Conditions(0.2, "pair", 1.0), {"noise": 0.2, "noise_kind": "symmetric"}, False),
        (Conditions(0.0, "", 50.0), {"imbalance": 100.0}, True),
        (Conditions(0.0, "", 49.0), {"imbalance": 100.0}, False),
        (Conditions(0.0, "", 50.0), {}, False),
        (Conditions(0.0, "", 1.0), {"imbalance": 1.5}, True),
        (Conditions(0.2, "pair", 100.0), {"imbalance": 100.0}, False),
    ],
)
def test_conditions_match_if_they_are_similar(conditions, needs, matches):
    assert (gaps(conditions, Needs(**needs)) == []) is matches


def test_only_runs_under_similar_conditions_decide(tmp_path):
    write(tmp_path, "ce")
    write(tmp_path, "gce", [-delta for delta in SURE])
    write(tmp_path, "ce", **NOISY)
    write(tmp_path, "gce", SURE, **NOISY)

    assert card(tmp_path).pick.loss == "ce"
    assert card(tmp_path, noise=0.4).pick.loss == "gce"
    assert card(tmp_path, noise=0.4, noise_kind="pair").pick is None
    assert [task.name for task in card(tmp_path, noise=0.4).deciding] == [
        "digits with cnn, symmetric noise 0.4"
    ]


def test_without_a_match_nothing_is_recommended_and_the_nearest_is_named(tmp_path):
    for rate in (0.2, 0.8):
        write(tmp_path, "ce", **NOISY | {"noise.rate": rate})
        write(tmp_path, "gce", SURE, **NOISY | {"noise.rate": rate})
    advice = card(tmp_path, noise=0.5)

    assert advice.pick is None
    assert why(advice) == (
        "No run matches these needs. The nearest that was measured: digits with cnn, symmetric "
        "noise 0.2 (20 % of wrong labels, not 50 %)."
    )


def test_evidence_on_the_users_data_counts_before_that_on_others(tmp_path):
    write(tmp_path, "ce", data="a")
    write(tmp_path, "gce", SURE, data="a")
    write(tmp_path, "ce", data="b")
    write(tmp_path, "gce", UNSURE, data="b")
    advice = card(tmp_path, data="b")
    elsewhere = card(tmp_path, model="mlp")

    assert advice.pick.loss == "ce"
    assert [task.name for task in advice.farther] == ["a with cnn"]
    assert elsewhere.pick.loss == "gce"
    assert "The runs that show it are with another net than mlp." in why(elsewhere)


@pytest.mark.parametrize(("budget", "decides"), [(8, "not tuned"), (9, "tuned")])
def test_a_budget_that_can_tune_makes_tuned_runs_the_nearer_ones(tmp_path, budget, decides):
    write(tmp_path, "ce")
    write(tmp_path, "gce", SURE)
    for lr in (0.1, 0.2):
        write(tmp_path, "ce", experiment="tuned", **{"optimizer.lr": lr})
        write(tmp_path, "gce", UNSURE, experiment="tuned", **{"optimizer.lr": lr})
    (task,) = card(tmp_path, budget=budget).deciding

    assert task.comparison.is_tuned is (decides == "tuned")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (Path.exists, "There is no run yet."),
        (lambda root: write(root, "gce", SURE), "no finished run of ce"),
        (lambda root: write(root, "ce"), "no other loss than ce"),
        (
            lambda root: [write_run(root, "ce", 0), write_run(root, "gce", 0, -0.1)],
            "one seed, which cannot tell losses from seeds",
        ),
        (
            lambda root: [
                write(root, "ce"),
                *(write(root, "gce", SURE, **{"optimizer.lr": lr}) for lr in (0.1, 0.2)),
            ],
            "losses are not ranked",
        ),
    ],
    ids=["nothing", "no baseline", "no other loss", "one seed", "unequal budgets"],
)
def test_runs_that_show_nothing_recommend_nothing_and_say_why(tmp_path, prepare, reason):
    prepare(tmp_path)
    advice = card(tmp_path)

    assert advice.pick is None
    assert record(advice)["loss"] is None
    assert reason in why(advice)


def test_runs_that_match_and_decide_nothing_are_named_beside_those_that_decide(tmp_path, capsys):
    """They measured another net and another loss, which is then not called never measured."""
    for loss in ("ce", "gce"):
        write(tmp_path, loss)
        write(tmp_path, loss, (0,), model="mlp")
    write(tmp_path, "mse", (0,), model="mlp")
    show(card(tmp_path), "table")

    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "Other runs match these needs too, and decide nothing: digits with mlp (one seed, which "
        "cannot tell losses from seeds)."
    ) in shown
    assert "Not measured by the runs that decide" in shown
    assert "other nets than cnn" in shown


def test_another_baseline_can_be_beaten_too(tmp_path):
    write(tmp_path, "mse")
    write(tmp_path, "gce", SURE)

    assert card(tmp_path, baseline="mse").pick.loss == "gce"


def test_a_calibrator_is_recommended_where_it_is_shown_to_help_the_same_runs(tmp_path):
    raw, scaled = [0.9, 0.95, 1.0], [0.5, 0.52, 0.51]
    for seed, pair in enumerate(zip(raw, scaled, strict=True)):
        metrics = dict(zip(("test/nll", "test_ts/nll"), pair, strict=True))
        for loss in ("ce", "gce"):
            write_run(tmp_path, loss, seed, 0.1 * seed, metrics=metrics)
    advice = card(tmp_path)
    (step,) = advice.calibration.steps

    assert step.p == pytest.approx(ttest_rel(scaled, raw).pvalue)
    assert (advice.calibration.prefix, step.word) == ("test_ts", "better")
    assert record(advice)["calibrator"] == "temperature scaling"
    assert "shown to improve the NLL of ce (as trained) by 0.440 ± 0.114" in " ".join(
        record(advice)["calibrator_why"]
    )


def test_a_calibrator_that_makes_it_worse_is_not_recommended(tmp_path):
    for seed in range(3):
        metrics = {"test/nll": 0.5 + 0.01 * seed, "test_ts/nll": 0.9 + 0.012 * seed}
        write_run(tmp_path, "ce", seed, metrics=metrics, **NOISY)
        write_run(tmp_path, "gce", seed, metrics=metrics, **NOISY)
    content = record(card(tmp_path, noise=0.4))

    assert content["calibrator"] == "none"
    assert "Temperature scaling is shown to make the NLL worse. Calib has wrong labels" in " ".join(
        content["calibrator_why"]
    )


def test_where_calibration_does_harm_losses_are_compared_as_trained_with_p_doubled(tmp_path):
    raw = {"ce": [0.9, 0.91, 0.92], "gce": [0.5, 0.52, 0.51]}
    for loss, values in raw.items():
        for seed, value in enumerate(values):
            metrics = {"test/nll": value, "test_ts/nll": 1.0 + 0.012 * seed}
            write_run(tmp_path, loss, seed, metrics=metrics, **NOISY)
    advice = card(tmp_path, noise=0.4)
    ((verdict,),) = advice.verdicts

    assert (advice.by.key, advice.pick.loss) == ("test/nll", "gce")
    assert verdict.p == pytest.approx(2 * ttest_rel(raw["gce"], raw["ce"]).pvalue)
    assert (
        "Losses are compared as trained, because temperature scaling is shown to make the NLL of "
        "ce worse, by 0.102 ± 0.005; p is doubled for this second reading."
    ) in why(advice)


def test_runs_of_a_sequential_design_are_judged_by_its_looks(tmp_path):
    stated = {"until": "decided", "max_seeds": 8, "primary": "test_ts/nll", "baseline": "ce"}
    tags = {"design": json.dumps(stated)}
    deltas = [-0.02, -0.03, -0.01, -0.025, -0.015]
    for seed, delta in enumerate(deltas):
        write_run(tmp_path, "ce", seed, 0.001 * seed, tags=tags)
        write_run(tmp_path, "gce", seed, 0.001 * seed + delta, tags=tags)
    advice = card(tmp_path)
    (task,) = advice.deciding
    ((verdict,),) = advice.verdicts
    decision = task.comparison.sequential.decisions["gce"]

    assert verdict.p == decision.p > ttest_rel([0.4 + d for d in deltas], [0.4] * 5).pvalue
    assert verdict.word == decision.verdict == "better"
    assert "seeds until it was decided, 8 at most" in task.remarks


def test_an_open_design_goes_on_as_it_was_declared(tmp_path):
    stated = {"until": "decided", "max_seeds": 8, "primary": "test_ts/nll", "baseline": "ce"}
    for loss, deltas in (("ce", [0] * 3), ("gce", UNSURE)):
        for seed, delta in enumerate(deltas):
            write_run(tmp_path, loss, seed, delta, tags={"design": json.dumps(stated)})
    sweep = card(tmp_path, budget=4).sweeps[0]

    assert sweep.command.endswith("loss=ce,gce until=decided max_seeds=8")
    assert (sweep.least, sweep.runs, sweep.exceeds) == (0, 10, True)


def test_a_design_that_has_decided_is_not_typed_again(tmp_path):
    """Its command would train nothing. Over two tasks p is doubled, and what it decided is open."""
    stated = {"until": "decided", "max_seeds": 8, "primary": "test_ts/nll", "baseline": "ce"}
    tags = {"design": json.dumps(stated)}
    for seed, delta in enumerate([-0.1, -0.116, -0.084]):
        write_run(tmp_path, "ce", seed, tags=tags)
        write_run(tmp_path, "gce", seed, delta, tags=tags)
    for loss in ("ce", "gce"):
        for seed, delta in enumerate(UNSURE if loss == "gce" else (0, 0, 0)):
            write_run(tmp_path, loss, seed, delta, model="mlp")
    advice = card(tmp_path)
    designed = next(task for task in advice.deciding if task.design)

    assert designed.comparison.sequential.decisions["gce"].verdict == "better"
    assert {verdict.word for of_task in advice.verdicts for verdict in of_task} == {"inconclusive"}
    assert not any("max_seeds" in sweep.command for sweep in advice.sweeps)


def test_a_loss_that_is_worse_on_one_task_is_not_called_undecided_too(tmp_path):
    write(tmp_path, "ce")
    write(tmp_path, "mse", [0.1, 0.101, 0.099])
    write(tmp_path, "hinge", UNSURE)
    write(tmp_path, "ce", model="mlp")
    write(tmp_path, "mse", UNSURE, model="mlp")
    advice = card(tmp_path)

    assert {v.label: v.word for v in advice.verdicts[1]} == {"mse": "inconclusive"}
    assert "Worse: mse on task 1; undecided: hinge." in why(advice)


def test_a_loss_without_probabilities_needs_a_calibrator_and_is_out_where_there_is_none(tmp_path):
    write(tmp_path, "ce")
    write(tmp_path, "hinge", SURE)
    scaled, raw = card(tmp_path), card(tmp_path, has_calibration_data=False)

    assert scaled.pick.loss == "hinge"
    assert scaled.calibration.is_needed
    assert "Without it the scores of hinge are no probabilities." in " ".join(
        record(scaled)["calibrator_why"]
    )
    assert raw.pick is None
    assert card(tmp_path, need="accuracy", has_calibration_data=False).pick.loss == "ce"


@pytest.mark.parametrize(
    ("needs", "key"),
    [
        ({}, "test_ts/nll"),
        ({"has_calibration_data": False}, "test/nll"),
        ({"need": "accuracy"}, "test/top1"),
        ({"need": "ranking"}, "test/top5"),
        ({"need": "abstention"}, "test_ts/aurc"),
        ({"imbalance": 100.0}, "test_pc/nll"),
        ({"imbalance": 100.0, "need": "accuracy"}, "test_pc/top1"),
        ({"imbalance": 100.0, "has_calibration_data": False}, "test/nll"),
        ({"shift": True}, "shift_ts/mean/nll"),
        ({"shift": True, "need": "accuracy"}, "shift/mean/top1"),
        ({"shift": True, "need": "abstention"}, "shift/mean/aurc"),
    ],
)
def test_each_need_has_its_metric(needs, key):
    assert Needs(**needs).yardstick({"test_pc/nll", "test_pc/top1"}).key == key


def test_without_a_prior_correction_among_the_runs_they_are_judged_without_it(tmp_path):
    write(tmp_path, "ce", imbalance="step", **{"imbalance.ratio": 100})
    write(tmp_path, "gce", SURE, imbalance="step", **{"imbalance.ratio": 100})
    advice = card(tmp_path, imbalance=60.0)

    assert advice.by.key == "test_ts/nll"
    assert advice.pick.loss == "gce"


def shifted(seed: int, scores: dict[str, float]) -> Run:
    params = {"loss": "ce", "data": "d", "model": "m", "seed": seed}
    return Run("ce", "e", params, {"test/top1": 0.9} | scores, {}, "xent-train", 9, 1.0)


def test_means_under_shift_are_over_what_all_scored_runs_share():
    runs = [
        shifted(0, {"shift/fog/1/top1": 0.8, "shift/fog/3/top1": 0.6, "shift/snow/1/top1": 0.1}),
        shifted(1, {"shift/fog/1/top1": 0.7, "shift/fog/3/top1": 0.4, "shift/mean/top1": 0.0}),
        shifted(2, {}),
    ]
    means = [run.metrics.get("shift/mean/top1") for run in with_shift_means(runs)]

    assert means == [pytest.approx(0.7), pytest.approx(0.55), None]


def test_losses_that_suit_the_needs_and_were_never_tried_are_named(tmp_path):
    write(tmp_path, "ce", **NOISY)
    write(tmp_path, "gce", SURE, **NOISY)
    advice = card(tmp_path, noise=0.4)

    assert advice.worth_a_try == ["sce", "nce_rce", "taylor_ce"]
    assert advice.never_tried == ["mse", "hinge"]


def test_the_order_in_which_runs_are_read_changes_nothing(tmp_path):
    write(tmp_path, "ce")
    write(tmp_path, "gce", SURE)
    write(tmp_path, "mse", UNSURE, data="b")
    write(tmp_path, "ce", data="b")
    runs = load_runs(tmp_path)
    shuffled = [replace(run) for run in runs]
    random.Random(0).shuffle(shuffled)

    assert record(advise(shuffled, [], Needs(), OFFER)) == record(advise(runs, [], Needs(), OFFER))


def test_a_sweep_by_an_experiment_with_a_design_is_typed_without_that_design(tmp_path):
    write(tmp_path, "ce")
    (run,) = [run for run in load_runs(tmp_path) if run.params["seed"] == 0]
    command = "xent-train experiment=digits_decided loss=ce seed=0"
    tags = run.tags | {"design": '{"baseline": "ce", "max_seeds": 30, "until": "decided"}'}

    of_file = typed(replace(run, command=command, tags=tags))
    of_command = typed(replace(run, command=f"{command} until=decided", tags=tags))

    assert of_file.sweep("loss=gce", "seed=0,1").split()[2:] == [
        *("experiment=digits_decided", "until=once", "loss=gce", "seed=0,1")
    ]
    assert "until" not in of_command.sweep("loss=gce", "seed=0,1")
    assert "until=once" not in of_file.sweep("loss=ce,gce", "until=decided")
