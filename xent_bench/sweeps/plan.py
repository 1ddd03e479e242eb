"""A sweep before it begins: which runs it has, which of them are missing, and that all can be."""

import sys
from typing import NamedTuple

from omegaconf import DictConfig

from xent_bench.config.configure import check_sources, check_top_level
from xent_bench.config.identity import command_of, run_folder, run_name
from xent_bench.failures import Unavailable, Unreachable
from xent_bench.runs.files import has_result
from xent_bench.runs.sweep_record import Planned
from xent_bench.sweeps import fork_server
from xent_bench.sweeps.child import check_in_child
from xent_bench.sweeps.combinations import combinations_of, composed, differing
from xent_bench.sweeps.lines import n_runs, say
from xent_bench.sweeps.recall import recall, remember

MANY = 50  # which take Hydra about 5 s


class Plan(NamedTuple):
    """All runs of a sweep; of those that are missing also the configs."""

    runs: list[Planned]
    missing: list[tuple[Planned, DictConfig]]
    gpus: int  # that this machine has, if there is anything to train

    def config_of(self, overrides: list[str]) -> tuple[Planned, DictConfig]:
        """Of a run that is missing."""
        return next(each for each in self.missing if each[0].overrides == overrides)


def plan_of(sweep: DictConfig) -> Plan | None:
    """Composed and checked as a whole: a mistake in its last run is refused before the first.

    None of a sweep whose sweeper chooses as it goes.
    """
    known = recall(sweep)
    done = {place for place, run in enumerate(known) if run.is_done()}
    combinations = [run.overrides for run in known] or combinations_of(sweep)
    if combinations is None:
        return None
    tells = differing(combinations)
    found = dict(enumerate(known))
    missing = {}
    places = [place for place in range(len(combinations)) if place not in done]
    if len(places) > MANY:
        say(f"{n_runs(len(places))} to compose and check ...")
    for at, config in composed(sweep, [combinations[place] for place in places]):
        place = places[at]
        check_top_level(config)
        found[place] = planned_run(sweep, config, combinations[place], tells)
        if not found[place].is_done():
            check_sources(config)
            missing[place] = config
            fork_server.start(config)  # it imports while we compose
    all_runs = [found[place] for place in sorted(found)]
    pairs = [(found[place], missing[place]) for place in sorted(missing)]
    gpus = 0
    if pairs:
        to_train = sum(not has_result(run.folder) for run, _ in pairs)
        ask_stores([config for _, config in pairs])
        what = f"{to_train} to train" if to_train else f"{len(pairs)} to complete"
        say(f"{n_runs(len(all_runs))}, {what}; loading PyTorch ...")
        gpus = check_parts([config for _, config in pairs])
    if all_runs != known:
        remember(sweep, all_runs)
    return Plan(all_runs, pairs, gpus)


def ask_stores(configs: list[DictConfig]) -> None:
    """Unreachable if one that the runs are to be logged in does not answer, told within seconds."""
    from xent_bench.tracking.reach import complaint, tracking_uri  # 50 ms of --help

    wanted = [each.machine.tracking for each in configs if not each.machine.offline]
    for uri in set(map(tracking_uri, wanted)):
        if wrong := complaint(uri):
            raise Unreachable(f"{wrong}; machine.offline=true logs to the folders of runs alone")


def planned_run(
    sweep: DictConfig, run: DictConfig, overrides: list[str], tells: set[str]
) -> Planned:
    """A run as it goes into the record; `tells` are the overrides that not every run has."""
    own = [each for each in overrides if each in tells and not each.startswith(("loss=", "seed="))]
    return Planned(
        " ".join([run_name(run), *own]),
        command_of(sweep.hydra, overrides),
        overrides,
        run_folder(run),
        run.calibrator.name,
        bool(run.machine.save_weights),
        bool(run.machine.offline),
    )


def check_parts(configs: list[DictConfig]) -> int:
    """Check each run's parts with PyTorch, in a process forked for it; the number of its GPUs.

    What is wrong is one line and the exit code. Unavailable if the process was killed.
    """
    process, connection = fork_server.fork(check_in_child, configs)
    try:
        answer = connection.recv()
    except EOFError:
        process.join()
        if process.exitcode == 1:  # it has said on the terminal why
            sys.exit(1)
        raise Unavailable("the process that checks the runs was killed") from None
    process.join()
    if isinstance(answer, tuple):
        line, code = answer
        print(f"xent-train: {line}", file=sys.stderr)
        sys.exit(code)
    return int(answer)
