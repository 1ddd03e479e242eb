"""Sweeps whose later runs follow from the results of earlier ones."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from written_run import write_run

from xent_bench.commands.status import main as status_main
from xent_bench.comparison.sequential import decide, looks_until
from xent_bench.comparison.yardsticks import by_key
from xent_bench.config.configure import ConfigError
from xent_bench.designs.cells import Cell, Trial, reseeded, settings_of
from xent_bench.designs.designed import Designed
from xent_bench.designs.ledger import Ledger, Outcome
from xent_bench.designs.progress import beginning_of, progress
from xent_bench.designs.requests import ask_for_runs
from xent_bench.runs.design import Design
from xent_bench.runs.sweep_record import Planned, Sweep, load_sweep, save_sweep, steps_before

XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))
LINEAR = ("data=synthetic", "data.n=600", "model=linear", "machine=cpu", "machine.threads=1")

SWEPT = [
    ["epochs=1", f"loss={loss}", f"optimizer.lr={lr}", f"noise.rate={rate}", f"seed={seed}"]
    for loss in ("ce", "focal")
    for lr in (0.1, 0.2)
    for rate in (0, 0.4)
    for seed in (3, 5)
]


def test_runs_are_grouped_by_setting_loss_trial_and_seed():
    clean, noisy = settings_of(SWEPT, "ce", 0)

    clean, noisy = clean.cells, noisy.cells
    assert [cell.loss for cell in clean] == ["ce", "focal"]
    assert clean[1].trials[0] == Trial(
        ("optimizer.lr=0.1",),
        {
            3: ("epochs=1", "loss=focal", "optimizer.lr=0.1", "noise.rate=0", "seed=3"),
            5: ("epochs=1", "loss=focal", "optimizer.lr=0.1", "noise.rate=0", "seed=5"),
        },
    )
    assert noisy[0].trials[1].runs[5][3] == "noise.rate=0.4"
    assert noisy[0].seeds == [3, 5]


def test_a_run_that_names_neither_loss_nor_seed_has_those_of_the_config():
    (setting,) = settings_of([["epochs=1"]], "gce", 7)

    assert setting.epochs == 1
    assert setting.cells[0] == Cell("gce", [Trial((), {7: ("epochs=1",)})])


def test_a_loss_by_its_target_is_named_as_in_a_report():
    (setting,) = settings_of([["loss=own", "loss._target_=mine.losses.my_loss"]], "ce", 0)

    assert setting.cells[0].loss == "my_loss"


@pytest.mark.parametrize("words", [("loss=ce", "seed=1"), ("loss=ce",)])
def test_a_run_gets_another_seed(words):
    assert reseeded(words, 8) == ("loss=ce", "seed=8")


def test_what_changes_no_number_makes_no_trial():
    swept = [["machine.threads=1", "notes=a"], ["machine.threads=2", "notes=a"]]

    assert not any(setting.is_tuned for setting in settings_of(swept, "ce", 0))


class World:
    """Runs that have the scores of a function, for a design to ask for."""

    def __init__(
        self, folder: Path, score: Callable[[str, int], float | None], baseline: str = "ce"
    ) -> None:
        self.folder, self.score, self.baseline = folder, score, baseline
        self.outcomes: dict[tuple[str, ...], Outcome] = {}

    def train(self, words: tuple[str, ...]) -> Outcome:
        values = dict(word.split("=") for word in words)
        loss, seed = values["loss"], int(values["seed"])
        score = self.score(loss, seed)
        if score is None:
            return Outcome(self.folder / f"{loss}-{seed}", failed=True)
        weights = self.baseline if loss == "sparse_ce" else loss
        folder = write_run(self.folder, loss, seed, weights=weights, metrics={"test/nll": score})
        return Outcome(folder, failed=False)

    def play(self, designed: Designed) -> Ledger:
        """Train what the design asks for, round by round, until it asks for nothing new."""
        while True:
            ledger = Ledger(self.outcomes.get)
            ask_for_runs(ledger, designed)
            new = [words for words in ledger.asked if words not in self.outcomes]
            if not new:
                return ledger
            self.outcomes |= {words: self.train(words) for words in new}

    def seeds(self, loss: str) -> list[int]:
        return sorted(
            int(word.partition("=")[2])
            for words in self.outcomes
            if f"loss={loss}" in words
            for word in words
            if word.startswith("seed=")
        )


def noise(loss: str, seed: int) -> float:
    return random.Random(f"{loss} {seed}").gauss(0.0, 0.02)


def decided(*losses: str, max_seeds: int = 30, seeds: Sequence[int] = (0,)) -> Designed:
    design = Design(until="decided", primary="test/nll", max_seeds=max_seeds)
    runs = [[f"loss={loss}", f"seed={seed}"] for loss in losses for seed in seeds]
    return Designed(design, runs, "ce", 0, 20)


def scores(loss: str, seed: int) -> float | None:
    return 0.4 + {"mse": 0.2, "gce": 0.03}.get(loss, 0.0) + noise(loss, seed)


def test_seeds_are_added_for_open_losses_and_their_baseline_alone(tmp_path):
    world = World(tmp_path, scores)
    ledger = world.play(decided("ce", "sparse_ce", "mse", "gce", "focal"))

    assert world.seeds("mse") == world.seeds("sparse_ce") == [0, 1, 2]
    assert 3 < len(world.seeds("gce")) <= len(world.seeds("ce"))
    assert world.seeds("ce") == list(range(max(len(world.seeds("gce")), len(world.seeds("focal")))))
    assert ledger.further == []
    assert any(line.startswith("After 3 seeds: mse is worse than ce") for line in ledger.news)
    assert "sparse_ce is ce in another format: it ends with the same weights" in ledger.news


def test_what_is_decided_is_what_a_report_decides_from_the_same_runs(tmp_path):
    world = World(tmp_path, scores)
    news = world.play(decided("ce", "mse", "gce", "focal")).news
    values = {
        loss: [scores(loss, seed) for seed in world.seeds(loss)]
        for loss in ("ce", "mse", "gce", "focal")
    }
    by = by_key()["test/nll"]
    for decision in decide(values, "ce", looks_until(30), by.tie, by.better):
        words = f"{decision.label} is {decision.verdict} than ce"
        assert decision.is_open == any(
            line.startswith("Open") and decision.label in line for line in news
        )
        assert decision.is_open or any(words in line or "tie within" in line for line in news)


def test_the_same_runs_are_asked_for_whatever_else_is_on_the_disk(tmp_path):
    straight = World(tmp_path / "straight", scores)
    straight.play(decided("ce", "mse", "gce"))
    more = World(tmp_path / "more", scores)
    typed_before = [
        ("loss=" + loss, f"seed={s}") for loss in ("ce", "mse", "gce") for s in range(9)
    ]
    more.outcomes = {words: more.train(words) for words in typed_before}

    ledger = more.play(decided("ce", "mse", "gce"))

    assert set(ledger.asked) == set(straight.outcomes)


def test_typed_seeds_come_first_and_then_those_after_them(tmp_path):
    world = World(tmp_path, lambda loss, seed: 0.4 + noise(loss, seed))
    world.play(decided("ce", "focal", max_seeds=5, seeds=(7, 3)))

    assert world.seeds("focal") == [3, 7, 8, 9, 10]


def test_no_more_seeds_than_the_largest_number_are_asked_for(tmp_path):
    world = World(tmp_path, lambda loss, seed: 0.4 + 0.1 * noise(loss, seed) * seed)
    ledger = world.play(decided("ce", "focal", max_seeds=6))

    assert len(world.seeds("focal")) <= 6
    assert ledger.further == []


def test_a_loss_with_a_failed_run_is_not_judged_and_gets_no_more_seeds(tmp_path):
    world = World(
        tmp_path, lambda loss, seed: None if (loss, seed) == ("gce", 1) else noise(loss, seed)
    )
    ledger = world.play(decided("ce", "gce", "focal", max_seeds=5))

    assert world.seeds("gce") == [0, 1, 2]
    assert any("gce cannot be judged" in line for line in ledger.news)


def test_runs_that_were_trained_outside_the_design_are_counted(tmp_path):
    world = World(tmp_path, scores)
    news = world.play(decided("ce", "mse")).news

    assert any(line.startswith("6 of the 6 runs in use were trained outside") for line in news)


@pytest.mark.parametrize("key", ["rungs", "confirm"])
def test_keys_of_a_search_are_refused_where_nothing_is_searched(tmp_path, key):
    designed = decided("ce", "mse")._replace(design=Design(**{key: 2}))

    with pytest.raises(ConfigError, match=f"{key}: chooses among the trials of a loss"):
        World(tmp_path, scores).play(designed)


def test_news_name_the_setting_where_there_are_several():
    runs = [
        [f"loss={loss}", "seed=0", f"noise.rate={rate}"]
        for rate in (0, 0.4)
        for loss in ("ce", "mse")
    ]
    designed = decided("ce", "mse")._replace(combinations=runs)
    ledger = Ledger(lambda _: None)
    ask_for_runs(ledger, designed)

    assert ledger.further[1].startswith("noise.rate=0.4: the next look is at 3 seeds")


@pytest.mark.parametrize(
    ("losses", "complaint"),
    [
        (("mse", "focal"), "baseline: ce is not among the losses"),
        (("ce",), "until: decided compares"),
    ],
)
def test_a_comparison_without_its_baseline_or_another_loss_is_refused(tmp_path, losses, complaint):
    with pytest.raises(ConfigError, match=complaint):
        World(tmp_path, noise).play(decided(*losses))


def test_the_record_knows_which_seeds_were_finished_before_another_command(tmp_path):
    def planned(seed: int) -> Planned:
        folder = tmp_path / f"ce-digits-cnn-s{seed}-0123456789"
        return Planned("", "", [f"seed={seed}"], folder, "temperature", False, False)

    for seed in (0, 1, 2):
        write_run(tmp_path, "ce", seed)
        (tmp_path / "tested" / f"ce-{seed}").rename(planned(seed).folder)
    first = Sweep("key", "xent-train -m seed=0,1,2,3", [planned(seed) for seed in range(4)])
    save_sweep(tmp_path, first)
    record = load_sweep(tmp_path)

    assert steps_before(None, "any") == ()
    assert steps_before(record, first.command) == ()
    assert steps_before(record, "another") == ((0, 1, 2),)
    again = record._replace(command="another", earlier=((0, 1, 2),))
    assert steps_before(again, "a third") == ((0, 1, 2),)  # it has finished no new seed


def test_the_progress_of_a_sweep_follows_the_runs_on_the_disk(tmp_path):
    world = World(tmp_path, scores)
    designed = decided("ce", "mse")
    news = world.play(designed).news
    planned = [
        Planned("", "", list(words), outcome.folder, "temperature", False, False)
        for words, outcome in world.outcomes.items()
    ]
    folder = planned[0].folder.parent
    save_sweep(folder, Sweep("key", "", planned, began=beginning_of(designed)))
    record = load_sweep(folder)
    complete = progress(record, folder)
    (folder / "mse-1" / "result.json").unlink()
    lacking = progress(record, folder)

    assert complete.news == tuple(news)
    assert complete.further == ()
    assert not any("mse is worse" in line for line in lacking.news)
    assert lacking.further[0].startswith("the next look is at 3 seeds; at most 56 runs are left")


@pytest.mark.parametrize("began", [[], [1, 2], ["{}", [["seed=0"]], "ce", -1, 20], 7])
def test_a_record_with_a_damaged_beginning_is_none(tmp_path, began):
    save_sweep(tmp_path, Sweep("key", "", [], began=began))

    assert load_sweep(tmp_path) is None


def test_an_adaptive_search_is_known_to_its_command_alone():
    design = Design(trials=9, sampler="tpe")

    assert beginning_of(Designed(design, [["loss=ce"]], "ce", 0, 20)) is None


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Path, str]:
    """A search in two rungs over a grid, with a trial that diverges, and two fresh seeds."""
    folder = tmp_path_factory.mktemp("searched")
    done = sweep(folder, *SEARCH)
    assert done.returncode == 5, done.stderr  # of the trial that diverged
    return folder, done.stdout


SEARCH = (
    *(*LINEAR, "machine.offline=true", "epochs=4", "rungs=2", "confirm=2", "optimizer=sgd"),
    *("loss=ce,focal", "optimizer.lr=1e-5,0.1,0.2,1e38", "schedule=constant"),
)


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [XENT_TRAIN, "-m", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def states(folder: Path) -> dict[tuple[str, float, int], str]:
    """How each run ended, by its loss, learning rate and seed."""
    ends = {}
    for begun in (folder / "runs" / "default").glob("*/begun.json"):
        run = json.loads(begun.read_text())
        params = run["params"]
        key = (params["loss"], float(params["optimizer.lr"]), params["seed"])
        ends[key] = "done" if (begun.parent / "result.json").exists() else run["reason"]
    return ends


def test_the_better_half_of_each_loss_goes_on_and_its_best_gets_fresh_seeds(searched):
    ends = states(searched[0])
    paused = {key for key, end in ends.items() if end == "paused after epoch 2 of 4"}
    done = {key for key, end in ends.items() if end == "done"}

    for loss in ("ce", "focal"):
        assert (loss, 1e-5, 0) in paused
        assert ends[loss, 1e38, 0].startswith("Diverged")
        assert {(loss, 0.1, 0), (loss, 0.2, 0)} < done
        (winner,) = {lr for (name, lr, seed) in done if name == loss and seed > 0}
        assert {(loss, winner, 1), (loss, winner, 2)} < done
    assert len(ends) == 12
    assert "ce: after epoch 2 of 4, 2 of 4 trials go on, by val/top1" in searched[1]
    assert re.search(r"12 runs: 8 trained, 2 paused, 2 failed", searched[1])


def test_a_search_with_rungs_counts_stages_and_says_which_runs_go_on(searched):
    counters = re.findall(r"^\[ *(\d+)/\d+(.*?)\] ", searched[1], re.MULTILINE)

    assert [int(ended) for ended, _ in counters] == list(range(1, 17))  # of 12 runs
    assert {unit for _, unit in counters} == {" stages"}
    assert "Stages are counted: a stage is one run as far as its next rung" in searched[1]
    assert "8 runs by now, 4 to go on\n" in searched[1]
    assert "12 runs by now, 4 to train\n" in searched[1]


def test_the_status_of_a_search_asks_nothing_for_the_trials_that_it_left(searched, capsys):
    with suppress(SystemExit):  # two have failed
        status_main([str(searched[0] / "runs")])
    shown = capsys.readouterr().out

    assert "2 paused runs are trials that a search did not take further" in shown
    assert "To go on with a paused run" not in shown


def test_a_search_typed_again_trains_nothing_but_what_failed(searched):
    before = states(searched[0])
    again = sweep(searched[0], *SEARCH)

    assert "to train" in again.stdout
    assert "trained" not in again.stdout.splitlines()[-2].partition(":")[2].split(",")[0]
    assert states(searched[0]) == before


def test_more_trials_train_only_the_new_ones(tmp_path):
    few = (
        *LINEAR,
        "machine.offline=true",
        "epochs=1",
        "loss=ce,focal",
        "loss.focal.gamma=interval(0,3)",
    )
    first = sweep(tmp_path, *few, "optimizer.lr=tag(log,interval(1e-3,1e-1))", "trials=2")
    more = sweep(tmp_path, *few, "optimizer.lr=tag(log,interval(1e-3,1e-1))", "trials=3")

    assert "4 runs: 4 trained" in first.stdout
    assert "6 runs: 2 trained, 4 done before" in more.stdout
