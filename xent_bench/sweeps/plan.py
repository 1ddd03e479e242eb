"""The plan of a sweep: its runs, those that are missing, and a check that all of them can run."""

import sys
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from xent_bench.config.configure import check_sources, check_top_level
from xent_bench.config.identity import command_of, run_folder, run_name
from xent_bench.config.own_code import without_own
from xent_bench.config.schema import pause_after
from xent_bench.config.shift_asked import shift_asked
from xent_bench.failures import Unavailable
from xent_bench.runs.files import has_result
from xent_bench.runs.sweep_record import Planned
from xent_bench.sweeps import fork_server
from xent_bench.sweeps.choices_apart import naming_the_choice
from xent_bench.sweeps.combinations import combinations_of, composed, differing
from xent_bench.sweeps.lines import say
from xent_bench.sweeps.recall import recall, remember
from xent_bench.tables import n_runs

MANY = 50  # runs that take Hydra about 5 s to compose


class Plan(NamedTuple):
    """All runs of a sweep, the configs of those that are missing, and the machine's GPUs."""

    runs: list[Planned]
    missing: list[tuple[Planned, DictConfig]]
    gpus: int  # of this machine; 0 where nothing is missing

    def missing_run(self, overrides: list[str]) -> tuple[Planned, DictConfig]:
        """Find a missing run and its config by the run's overrides."""
        return next(pair for pair in self.missing if pair[0].overrides == overrides)


def plan_of(sweep: DictConfig) -> Plan | None:
    """Compose and check a sweep: a mistake in its last run is refused before the first begins.

    None for a sweep whose sweeper chooses as it goes.
    """
    recalled = recall(sweep)
    done = {index for index, run in enumerate(recalled) if run.is_done()}
    combinations = [run.overrides for run in recalled] or combinations_of(sweep)
    if combinations is None:
        return None
    varied = differing(combinations)
    runs = dict(enumerate(recalled))
    configs = {}
    to_compose = [index for index in range(len(combinations)) if index not in done]
    if len(to_compose) > MANY:
        say(f"{n_runs(len(to_compose))} to compose and check ...")
    added = [
        Path(source.path)
        for source in sweep.hydra.runtime.config_sources
        if source.provider == "command-line"
    ]
    with naming_the_choice(combinations, sys.argv[1:], added):
        for number, config in composed(sweep, [combinations[index] for index in to_compose]):
            index = to_compose[number]
            check_top_level(config)
            runs[index] = planned_run(sweep, config, combinations[index], varied)
            if not runs[index].is_done():
                check_sources(config)
                configs[index] = config
                fork_server.start(config)  # it imports while the other runs are composed
    all_runs = [runs[index] for index in sorted(runs)]
    missing = [(runs[index], configs[index]) for index in sorted(configs)]
    gpus = 0
    if missing:
        to_train = sum(not has_result(run.folder) for run, _ in missing)
        from xent_bench.tracking.reach import refuse_silent_stores  # 50 ms of --help

        refuse_silent_stores([config for _, config in missing])
        work = f"{to_train} to train" if to_train else f"{len(missing)} to complete"
        say(f"{n_runs(len(all_runs))}, {work}; loading PyTorch ...")
        gpus = check_parts([config for _, config in missing], here=trains_here(sweep))
    if all_runs != recalled:
        remember(sweep, all_runs)
    return Plan(all_runs, missing, gpus)


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
    )


def trains_here(sweep: DictConfig) -> bool:
    """Whether this machine trains the runs: the nodes of a cluster have other devices."""
    return str(sweep.hydra.launcher._target_).endswith(".Processes")


def check_parts(configs: list[DictConfig], *, here: bool) -> int:
    """Check each run's parts in a process that has PyTorch; returns the number of GPUs.

    `here`: this machine trains the runs, and must have the devices that they ask for. Exits with
    one line and an exit code where a part is wrong. Unavailable if the process was killed.
    """
    from xent_bench.sweeps.child import check_in_child  # what a run needs: 20 ms of --help

    process, connection = fork_server.fork(check_in_child, configs, here)
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
