"""The plan of a sweep: its runs, those that are missing, and a check that all of them can run."""

import re
import sys
from pathlib import Path
from typing import NamedTuple, TypeAlias

from omegaconf import DictConfig

from xent_bench.config.choices import key_of
from xent_bench.config.configure import ConfigError, check_sources, check_top_level
from xent_bench.config.design_keys import complaint_of_design, design_values
from xent_bench.config.explain import run_at_fault
from xent_bench.config.identity import choice, command_of, run_folder, run_name
from xent_bench.config.own_code import without_own
from xent_bench.config.schema import pause_after
from xent_bench.config.shift_asked import shift_asked
from xent_bench.designs.designed import Designed
from xent_bench.designs.ledger import Ledger, Outcome, Overrides
from xent_bench.designs.progress import beginning_of
from xent_bench.designs.requests import ask_for_runs
from xent_bench.failures import Unavailable
from xent_bench.runs.design import Design
from xent_bench.runs.files import has_result
from xent_bench.runs.lacking import has_ended
from xent_bench.runs.sweep_record import Planned, Sweep
from xent_bench.sweeps import fork_server
from xent_bench.sweeps.choices_apart import naming_the_choice
from xent_bench.sweeps.combinations import combinations_of, composed, differing, spaces_of
from xent_bench.sweeps.composer import Composer
from xent_bench.sweeps.lines import say
from xent_bench.sweeps.recall import recall, remember
from xent_bench.sweeps.typed_sweep import added_folders
from xent_bench.tables import n_runs

OURS = "hydra_plugins.xent_bench."  # launchers
PAUSE = "machine.pause_after"
PAUSED_COMMAND = re.compile(rf" {re.escape(PAUSE)}=\d+$")
MANY = 50  # runs that may take Hydra seconds to compose


PlannedRun: TypeAlias = tuple[Planned, DictConfig]


class Plan(NamedTuple):
    """All runs of a sweep that are known by now, the configs of those that are missing, and GPUs.

    Of a design with rounds more runs follow when these have ended.
    """

    runs: list[Planned]
    missing: list[PlannedRun]
    done_before: int  # number of runs that were done when they were asked for
    gpus: int  # of this machine; 0 where nothing is missing
    may_grow: bool = False  # whether more is asked for when these have ended


class Planner:
    """Plans the rounds of a sweep; each run is composed once."""

    def __init__(self, sweep: DictConfig, designed: Designed, recalled: list[Planned]) -> None:
        """`recalled`: runs of the sweep that need not be composed to be known."""
        self.sweep, self.designed = sweep, designed
        self.composer = Composer(str(sweep.hydra.job.config_name))  # one for all rounds
        self.planned = {tuple(run.overrides): _whole(run) for run in recalled}
        self.recalled = recalled
        self.configs: dict[Overrides, DictConfig] = {}  # of runs that were not done
        self.failed: set[Overrides] = set()  # in this command
        self.has_begun = False
        self.printed: set[str] = set()  # news of the rounds before
        self.was_done: dict[Overrides, bool] = {}  # when the run was first asked for

    def next_plan(self) -> Plan:
        """Compose and check the runs that can be named by now, and list those that are missing.

        A run that failed in this command is not listed again.
        """
        while True:
            ledger = Ledger(self._outcome_of)
            ask_for_runs(ledger, self.designed)
            unknown = [run for run in ledger.asked if run not in self.planned]
            if not unknown:
                break
            self._compose(unknown)
        asked = {run: self._asked(run, pause) for run, pause in ledger.asked.items()}
        is_done = {run: planned.is_done() for run, planned in asked.items()}
        self.was_done = is_done | self.was_done
        runs = list(asked.values())
        open_runs = [run for run in asked if run not in self.failed and not is_done[run]]
        self._compose([run for run in open_runs if run not in self.configs])
        missing = [(asked[run], self._config(run, asked[run])) for run in open_runs]
        for line in ledger.news:
            if line not in self.printed:
                say(line)
        self.printed |= set(ledger.news)
        gpus = self._checked(runs, missing) if missing else 0
        if runs != self.recalled or self.designed.design.has_rounds:
            news, further = tuple(ledger.news), tuple(ledger.further)
            record = Sweep(None, "", runs, news, further, began=beginning_of(self.designed))
            remember(self.sweep, record)
        return Plan(runs, missing, sum(self.was_done.values()), gpus, bool(ledger.further))

    def end_round(self, missing: list[PlannedRun]) -> None:
        """Note which of the runs that were launched have no result."""
        self.has_begun = True
        self.failed |= {tuple(run.overrides) for run, _ in missing if not run.is_done()}

    def _outcome_of(self, run: Overrides) -> Outcome | None:
        planned = self.planned.get(run)
        return None if planned is None else Outcome(planned.folder, run in self.failed)

    def _asked(self, run: Overrides, pause: int | None) -> Planned:
        """The run as this round asks for it: whole, or up to the epoch after which it pauses."""
        planned = self.planned[run]
        if pause is None:
            return planned
        command = f"{planned.command} {PAUSE}={pause}"
        return planned._replace(command=command, pause_after=pause)

    def _config(self, run: Overrides, asked: Planned) -> DictConfig:
        config = self.configs[run]
        config.machine.pause_after = asked.pause_after
        return config

    def _compose(self, runs: list[Overrides]) -> None:
        """Compose and check runs; a mistake in one of them is refused."""
        combinations = [list(run) for run in runs]
        if len(runs) > MANY:
            say(f"{n_runs(len(runs))} to compose and check ...")
        everything = [*self.planned, *runs]
        varied = differing([list(run) for run in everything])
        with naming_the_choice(combinations, sys.argv[1:], added_folders(self.sweep)):
            for index, config in composed(self.composer, combinations):
                with run_at_fault(runs[index]):
                    check_top_level(config)
                    planned = planned_run(self.sweep, config, combinations[index], varied)
                    self.planned[runs[index]] = planned
                    if not planned.is_done():
                        check_sources(config)
                        self.configs[runs[index]] = config
                        fork_server.start(config)  # it imports while the others are composed

    def _checked(self, runs: list[Planned], missing: list[PlannedRun]) -> int:
        """Check the stores and the parts of missing runs; returns the number of GPUs."""
        to_train = sum(not has_result(run.folder) for run, _ in missing)
        from xent_bench.tracking.reach import refuse_silent_stores  # 50 ms of --help

        refuse_silent_stores([config for _, config in missing])
        work = f"{to_train} to train" if to_train else f"{len(missing)} to complete"
        if self.has_begun:
            paused = sum(_is_paused(run.folder) for run, _ in missing)
            counts = {"to train": to_train - paused, "to go on": paused}
            parts = [f"{count} {what}" for what, count in counts.items() if count]
            say(f"{n_runs(len(runs))} by now, {', '.join(parts) or work}")
        else:
            say(f"{n_runs(len(runs))}, {work}; loading PyTorch ...")
            if self.designed.design.rungs > 1:
                say(
                    "Stages are counted: a stage is one run as far as its next rung, or to its end."
                )
        return check_parts(missing, here=trains_here(self.sweep))


def _is_paused(folder: Path) -> bool:
    """Whether the run in this folder has no result and is paused after some epoch."""
    return not has_result(folder) and has_ended(folder, pause_after=1)


def planner_of(sweep: DictConfig) -> Planner | None:
    """The planner of a sweep; None where its sweeper chooses as it goes.

    A sweep without rounds that was composed before needs no list of its combinations.
    """
    if key_and_complaint := complaint_of_design(sweep):
        raise ConfigError(*key_and_complaint)
    recalled = recall(sweep)
    design = Design(**design_values(sweep))
    if recalled and not design.has_rounds:
        combinations: list[list[str]] | None = [run.overrides for run in recalled]
    else:
        combinations = combinations_of(sweep)
    if combinations is None:
        return None
    _refuse_rounds(sweep, design)
    of_config = choice(sweep, "loss"), int(sweep.seed), int(sweep.epochs)
    spaces = spaces_of(sweep) if design.is_adaptive else {}
    designed = Designed(design, combinations, *of_config, spaces)
    return Planner(sweep, designed, recalled)


def _whole(recalled: Planned) -> Planned:
    """The run without the pause of the round in which the record was written.

    A pause that was typed is among its overrides, and stays.
    """
    if any(key_of(word) == PAUSE for word in recalled.overrides):
        return recalled
    return recalled._replace(command=PAUSED_COMMAND.sub("", recalled.command), pause_after=None)


def _refuse_rounds(sweep: DictConfig, design: Design) -> None:
    """Raise a ConfigError for a design that the other choices do not allow."""
    if design.rungs > 1 and sweep.machine.pause_after is not None:
        raise ConfigError(PAUSE, "is set by rungs, which pauses the trials that do not go on")
    if design.has_rounds and not str(sweep.hydra.launcher._target_).startswith(OURS):
        raise ConfigError(
            "hydra/launcher", "a sweep in rounds needs hydra/launcher=processes or slurm"
        )


def planned_run(
    sweep: DictConfig, run: DictConfig, overrides: list[str], varied: set[str]
) -> Planned:
    """A run as the sweep's record keeps it; `varied` are the overrides that not every run has."""
    in_name = ("loss=", "seed=")  # run_name has them
    shown = [word for word in overrides if word in varied and not word.startswith(in_name)]
    further = shift_asked(run)
    return Planned(
        " ".join([run_name(run), *without_own(shown)]),
        command_of(sweep.hydra, overrides),
        overrides,
        run_folder(run),
        run.calibrator.name,
        bool(run.machine.save_weights),
        bool(run.machine.offline),
        further.conditions,
        tuple(further.foreign),
        pause_after(run),
        bool(run.machine.log_model),
        bool(run.machine.pictures),
    )


def trains_here(sweep: DictConfig) -> bool:
    """Whether this machine trains the runs: the nodes of a cluster have other devices."""
    return str(sweep.hydra.launcher._target_).endswith(".Processes")


def check_parts(runs: list[PlannedRun], *, here: bool) -> int:
    """Check each run's parts in a process that has PyTorch; returns the number of GPUs.

    `here`: this machine trains the runs, and must have the devices that they ask for. Exits with
    one line and an exit code where a part is wrong. Unavailable if the process was killed.
    """
    from xent_bench.sweeps.child import check_in_child  # what a run needs: 20 ms of --help

    checked = [(run.overrides, config) for run, config in runs]
    process, connection = fork_server.fork(check_in_child, checked, here)
    try:
        answer = connection.recv()
    except EOFError:
        process.join()
        if process.exitcode == 1:  # its traceback is on the terminal
            sys.exit(1)
        raise Unavailable("the process that checks the runs was killed") from None
    process.join()
    if isinstance(answer, tuple):
        line, code = answer
        print(f"xent-train: {line}", file=sys.stderr)
        sys.exit(code)
    return int(answer)
