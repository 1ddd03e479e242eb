"""xent-advise as it is typed: what it prints, the commands that it names, and its exit codes."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from compared_losses import unfinished
from conftest import answer
from written_run import edit, write_run

from xent_bench import tables
from xent_bench.advice.card import advise
from xent_bench.advice.needs import AIMS, Needs
from xent_bench.advice.typed import typed
from xent_bench.commands import advise as command
from xent_bench.config.choices import choices_of
from xent_bench.config.parts import checked
from xent_bench.exit_codes import Exit
from xent_bench.runs.result import load_runs

NOISY = {"noise": "symmetric", "noise.rate": 0.4}
TAIL = {"imbalance": "step", "imbalance.ratio": 50}
SURE, UNSURE = (-0.1, -0.101, -0.099), (-0.3, 0.1, -0.1)


def write(root, loss, deltas=(0, 0, 0), **params):
    for seed, delta in enumerate(deltas):
        write_run(root, loss, seed, 0.001 * seed + delta, **params)


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory) -> Path:
    """Runs as they are, under noise, on a long tail, and tuned."""
    root = tmp_path_factory.mktemp("at_hand")
    for conditions in ({}, NOISY, TAIL):
        write(root, "ce", **conditions)
        write(root, "gce", SURE if conditions else UNSURE, **conditions | {"loss.q": 0.7})
        write(root, "hinge", UNSURE, **conditions)
    for lr in (0.1, 0.2):
        write(root, "ce", experiment="tuned", **{"optimizer.lr": lr})
        write(root, "mse", UNSURE, experiment="tuned", **{"optimizer.lr": lr})
    return root


def type_advise(capsys, *words: object) -> tuple[int, str, str]:
    code = answer(command.main, *map(str, words))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def first_run(words: list[str]) -> list[str]:
    """The overrides of the first run of a sweep."""
    values = dict(word.split("=", 1) for word in words)
    losses = values["loss"].split(",")
    assert set(losses) <= set(choices_of("loss"))
    overrides = []
    for key, value in values.items():
        of_one = re.fullmatch(r"loss\.(\w+)\.(\w+)", key)
        if of_one is None or of_one[1] == losses[0]:
            key = f"loss.{of_one[2]}" if of_one else key
            overrides.append(f"{key}={'0' if value.startswith('range') else value.split(',')[0]}")
    return overrides


NEEDS = [
    {},
    {"need": "accuracy", "noise": 0.4},
    {"need": "abstention", "noise": 0.4},
    {"noise": 0.2, "noise_kind": "pair", "budget": 12},
    {"noise": 0.4, "imbalance": 40.0, "budget": 1},
    {"imbalance": 100.0, "need": "ranking"},
    {"imbalance": 1000.0, "has_calibration_data": False},
    {"shift": True, "need": "accuracy", "budget": 100},
    {"data": "fashion_mnist", "model": "mlp", "has_calibration_data": False},
    {"data": "image_folder", "budget": 6},
    {"baseline": "gce", "noise": 0.4},
    {"budget": 20},
]


@pytest.mark.parametrize("needs", NEEDS, ids=str)
def test_every_command_that_is_recommended_composes(at_hand, composed, needs):
    wanted, offer = Needs(**needs), command._offer()
    commands = set()
    for runs in (load_runs(at_hand), []):
        card = advise(runs, [], wanted, offer)
        commands |= {sweep.command for sweep in card.sweeps}
        commands |= {card.experiment.command} if card.experiment else set()
        for sweep in card.sweeps:
            assert wanted.budget is None or sweep.runs <= wanted.budget or sweep.exceeds

    assert commands
    for line in commands:
        program, flag, *words = shlex.split(line)
        assert (program, flag) == ("xent-train", "-m")
        checked(composed(*(first_run(words) if "loss=" in line else words)))


def test_the_number_of_runs_of_a_sweep_is_what_its_command_lacks(at_hand):
    card = advise(load_runs(at_hand), [], Needs(need="abstention"), command._offer())
    assert card.by.key == "test_ts/aurc"  # which these runs lack: nothing to add to
    noisy = advise(load_runs(at_hand), [], Needs(noise=0.4, budget=20), command._offer())
    by_why = {sweep.why.partition(" ")[0]: sweep for sweep in noisy.sweeps}

    # hinge is open: two losses go from 3 seeds to the look at 12, which 20 runs allow
    assert by_why["tell"].command.endswith("loss=ce,hinge until=decided max_seeds=12")
    assert (by_why["tell"].runs, by_why["tell"].least) == (18, 0)
    # three losses, the baseline's three seeds
    assert by_why["try"].command.endswith("loss=sce,nce_rce,taylor_ce seed=0,1,2")
    assert by_why["try"].runs == 9
    # two losses x three rates x three seeds
    assert by_why["see"].runs == 18
    assert "optimizer.lr=0.03,0.1,0.3" in by_why["see"].command
    assert "name=tested_tuned" in by_why["see"].command


def test_tuned_losses_are_tried_again_over_the_same_grid_with_fresh_seeds(at_hand):
    card = advise(
        [run for run in load_runs(at_hand) if run.experiment == "tuned"],
        [],
        Needs(),
        command._offer(),
    )

    assert card.sweeps[0].command.endswith(
        "loss=ce,mse optimizer.lr=0.1,0.2 seed=0,1,2 until=decided"
    )
    assert (card.sweeps[0].least, card.sweeps[0].runs) == (6, 60)
    assert card.sweeps[1].command.endswith(
        "loss=brier,focal,label_smoothing optimizer.lr=0.1,0.2 seed=0,1,2"
    )
    assert card.sweeps[1].runs == 18


def added_losses(line: str) -> list[str]:
    return re.search(r" loss=(\S+)", line)[1].split(",")


def test_losses_that_are_added_to_a_confirmed_search_are_searched_and_confirmed_alike(tmp_path):
    tags = {"design": json.dumps({"confirm": 2})}
    for loss in ("ce", "mse"):
        for seed, lr in [(0, 0.1), (1, 0.1), (0, 0.2), (1, 0.2), (2, 0.1), (3, 0.1)]:
            delta = 0.001 * seed + (0.01 * seed if loss == "mse" else 0)
            write_run(tmp_path, loss, seed, delta, tags=tags, **{"optimizer.lr": lr})
    card = advise(load_runs(tmp_path), [], Needs(), command._offer())
    added = next(sweep for sweep in card.sweeps if sweep.why.startswith("try"))

    assert added.command.endswith("optimizer.lr=0.1,0.2 seed=0,1 confirm=2")
    assert added.runs == len(added_losses(added.command)) * (2 * 2 + 2)
    # of 30 fresh seeds of two losses, two each are at hand
    assert card.sweeps[0].command.endswith("seed=0,1 until=decided")
    assert card.sweeps[0].runs == 2 * (30 - 2)


def test_the_card_fits_80_columns_but_for_its_commands(at_hand, capsys, monkeypatch):
    monkeypatch.setattr(tables, "WIDTH", 80)
    code, shown, _ = type_advise(capsys, at_hand, "--noise", 0.4, "--data", "digits")
    lines = [line for line in shown.splitlines() if not line.startswith("  xent-train")]

    assert code == Exit.DONE
    assert max(map(len, lines)) <= 80
    assert "Loss: gce." in lines
    assert "Calibrator: none is needed." in lines
    assert " 1         gce           3 -0.100±0.002       better " in lines


def test_the_same_runs_give_the_same_card_in_each_form(at_hand, capsys):
    typed_words = [at_hand, "--noise", 0.4]
    twice = [type_advise(capsys, *typed_words)[1] for _ in range(2)]
    markdown = type_advise(capsys, *typed_words, "--format", "markdown")[1]
    content = json.loads(type_advise(capsys, *typed_words, "--format", "json")[1])

    assert twice[0] == twice[1]
    assert (content["loss"], content["displaces_baseline"]) == ("gce", True)
    assert content["metric"] == "test_ts/nll"
    (better,) = [row for row in content["evidence"] if row["verdict"] == "better"]
    assert better["difference"] == pytest.approx(-0.1)
    assert "| 1 | gce | 3 | -0.100±0.002 | better |" in markdown
    for sweep in content["next"]:
        assert f"```bash\n{sweep['command']}\n```" in markdown
        assert sweep["command"] in twice[0]
    one_line = " ".join(twice[0].split())
    assert all(sentence in one_line for sentence in content["why"])


def test_an_infinite_difference_is_null_in_json(tmp_path, capsys):
    write(tmp_path, "ce")
    write(tmp_path, "gce", SURE)
    for seed in range(3):
        write_run(tmp_path, "mse", seed, metrics={"test_ts/nll": float("inf")})
    code, shown, _ = type_advise(capsys, tmp_path, "--format", "json")
    differences = {row["loss"]: row["difference"] for row in json.loads(shown)["evidence"]}

    assert code == Exit.DONE
    assert differences["mse"] is None
    assert "inf" in type_advise(capsys, tmp_path)[1]


def test_the_help_names_each_need_and_kind_of_noise():
    assert set(command.NEEDS) == set(AIMS)
    assert {*command.KINDS, "none"} == set(choices_of("noise"))


def test_every_loss_that_suits_a_need_exists():
    from xent_bench.advice import offer

    suggested = {*offer.WRONG_LABELS, *offer.RARE_CLASSES}.union(*offer.BY_NEED.values())

    assert suggested <= set(choices_of("loss"))
    assert set(offer.WITH_ROOT) <= set(choices_of("data"))


def test_the_experiments_that_a_card_names_exist_with_their_size():
    experiments = command._offer().experiments
    sizes = {name: experiment.runs for name, experiment in experiments.items()}

    assert sizes["fashion_mnist_noise"] == 105
    assert sizes["quickstart"] == 15
    assert experiments["quickstart"].command == "xent-train -m experiment=quickstart"
    assert (
        experiments["quickstart"].about == "5 losses x 3 seeds, 23 s on 2 cores (AMD EPYC, 1 sweep)"
    )


@pytest.mark.parametrize(
    ("needs", "name"),
    [
        ((), "quickstart"),
        (("--budget", "50"), "fashion_mnist_tuned"),
        (("--budget", "10"), None),
        (("--noise", "0.2"), "fashion_mnist_noise"),
        (("--noise", "0.2", "--noise-kind", "pair"), None),
        (("--imbalance", "100"), "fashion_mnist_long_tail"),
        (("--imbalance", "1000"), None),
        (("--shift", "--need", "accuracy"), "fashion_mnist_shift"),
        (("--data", "imagenet"), "imagenet_losses"),
        (("--data", "features"), "heads"),
    ],
)
def test_without_runs_the_card_names_what_to_type(place, capsys, needs, name):
    code, shown, errors = type_advise(capsys, *needs, "--format", "json")
    content = json.loads(shown)

    assert (code, errors) == (Exit.NOT_AS_EXPECTED, "")
    assert content["loss"] is None
    assert content["next"]
    assert (content["experiment"] or {}).get("name") == name
    assert list(place.iterdir()) == []


def test_runs_that_did_not_finish_are_counted(tmp_path, capsys):
    unfinished(tmp_path, "ce", 0, "killed")
    code, shown, _ = type_advise(capsys, tmp_path)

    assert code == Exit.NOT_AS_EXPECTED
    assert "No run has finished; 1 run began (xent-status says why)." in shown


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--noise", "2"), Exit.USAGE, "--noise: expected a share from 0 to 1, got '2'"),
        (("--noise", "nan"), Exit.USAGE, "--noise: expected a share from 0 to 1, got 'nan'"),
        (("--imbalance", "0.5"), Exit.USAGE, "--imbalance: expected a ratio of at least 1"),
        (("--budget", "0"), Exit.USAGE, "--budget: expected a whole number of at least 1"),
        (("--need", "acuracy"), Exit.USAGE, "--need: invalid choice: 'acuracy'; did you mean"),
        (("--data", "digit"), Exit.USAGE, "--data: no digit in conf or among the runs; did you"),
        (("--baseline", "cee"), Exit.USAGE, "--baseline: no cee in conf or among the runs; did"),
        (("--noise-kind", "pair"), Exit.USAGE, "--noise-kind: expected --noise RATE beside it"),
        (("--shift", "--need", "ranking"), Exit.USAGE, "--shift: top-5 is not scored under shift"),
        (("nowhere",), Exit.DATA, "expected a folder of runs, got nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_line(capsys, words, code, message):
    got, shown, errors = type_advise(capsys, *words)

    assert (got, shown) == (code, "")
    assert errors.startswith(f"xent-advise: {message}")
    assert errors.count("\n") == 1


def test_a_run_that_two_folders_have_is_refused(tmp_path, capsys):
    write(tmp_path / "a", "ce")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    code, _, errors = type_advise(capsys, tmp_path / "a", tmp_path / "b")

    assert code == Exit.DATA
    assert "the same run twice, which would count twice: ce-s0 of experiment tested is in" in errors


def test_runs_of_several_folders_are_weighed_together(tmp_path, capsys):
    write(tmp_path / "a", "ce")
    write(tmp_path / "b", "gce", SURE)
    code, shown, _ = type_advise(capsys, tmp_path / "a", tmp_path / "b")

    assert code == Exit.DONE
    assert "Loss: gce." in shown


@pytest.mark.parametrize(
    "text",
    ["", "xent-train 'loss=ce", "rm -rf x", "xent-train loss=ce; rm x", "xent-train --x loss=ce"],
)
def test_a_command_that_cannot_have_been_typed_is_not_repeated(tmp_path, text):
    folder = write_run(tmp_path, "ce", 0)
    edit(folder, command=text)
    (run,) = load_runs(tmp_path)

    assert typed(run) is None


def test_without_a_command_that_can_be_repeated_there_is_advice_and_no_sweep(tmp_path):
    for loss, deltas in (("ce", (0, 0, 0)), ("gce", SURE)):
        for seed, delta in enumerate(deltas):
            folder = write_run(tmp_path, loss, seed, 0.001 * seed + delta)
            edit(folder, command="xent-train loss=ce; rm x")
    card = advise(load_runs(tmp_path), [], Needs(), command._offer())

    assert card.pick.loss == "gce"
    assert card.sweeps == []


def test_what_a_run_was_typed_with_is_kept_and_what_a_sweep_sets_is_not(tmp_path):
    folder = write_run(tmp_path, "focal", 3)
    line = "xent-train --config-dir 'my conf' +noise.rate=0.1 loss=focal loss.gamma=5 seed=3"
    edit(folder, command=f"{line} until=decided max_seeds=5 'imbalance.order=[1,0]' name=x")
    (run,) = load_runs(tmp_path)

    assert typed(run).sweep("loss=ce,focal", without=["noise"]) == (
        "xent-train -m --config-dir 'my conf' 'imbalance.order=[1,0]' name=x loss=ce,focal"
    )
    assert typed(run).hyper == ["loss.gamma=5"]


def test_hyper_parameters_of_one_loss_are_typed_for_this_loss_alone(tmp_path):
    for value in (1, 2):
        write(tmp_path, "focal", **{"loss.gamma": value})
        write(tmp_path, "gce", UNSURE, **{"loss.q": value / 2})
    card = advise(load_runs(tmp_path), [], Needs(baseline="focal"), command._offer())

    assert card.sweeps[0].command.endswith(
        "loss=focal,gce loss.focal.gamma=1,2 loss.gce.q=0.5,1.0 seed=0,1,2 until=decided "
        "baseline=focal"
    )
