"""The launcher of xent-train -m on one machine: machine.jobs runs at a time, each in a process."""

import sys
from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from xent_bench.planned import Planned
from xent_bench.run_files import is_pending, load_result
from xent_bench.schema import Accelerator
from xent_bench.sweeps.combinations import differing
from xent_bench.sweeps.fork_server import examine
from xent_bench.sweeps.gpus import slots
from xent_bench.sweeps.plan import Plan, planned
from xent_bench.sweeps.say import runs, say
from xent_bench.sweeps.shared import console_of
from xent_bench.sweeps.supervision import Job, Supervision
from xent_bench.sweeps.tally import Tally


class Processes(Launcher):
    """One parent that trains nothing; see Supervision for what it survives."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """What Hydra has."""
        self.context, self.config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train them all; leave with the exit code of the first failure, if there is one."""
        chosen, gpus, tally = chosen_runs(self.context, self.config, job_overrides)
        jobs = [Job(run, config, config.machine.retries) for run, config in chosen]
        machine = chosen[0][1].machine
        gpus = 0 if machine.accelerator is Accelerator.cpu else gpus
        Supervision(jobs, slots(machine.jobs, machine.devices, gpus), tally).train_all()
        tally.say_sum(jobs[-1].run.folder.parent)
        _say_what_mlflow_lacks([run for run, _ in chosen])
        if tally.codes:
            sys.exit(tally.codes[0])
        return [returned(run, config) for run, config in chosen]


def chosen_runs(
    context: HydraContext, config: DictConfig, job_overrides: Sequence[Sequence[str]]
) -> tuple[list[tuple[Planned, DictConfig]], int, Tally]:
    """What a launcher is given, the GPUs of this machine, and where to count what becomes of it."""
    combinations = [list(each) for each in job_overrides]
    console = console_of(context)
    plan, tally = console.plan, console.tally
    if plan is None or tally is None:  # of a sweeper that chooses as it goes
        plan = _plan(context, config, combinations)
        tally = Tally(len(combinations), len(combinations))
    return [plan.config_of(each) for each in combinations], plan.gpus, tally


def _say_what_mlflow_lacks(trained: list[Planned]) -> None:
    lacking = [each for each in trained if is_pending(each.folder)]
    if lacking:
        say(f"{runs(len(lacking))} not in MLflow yet: xent-sync {lacking[0].folder.parent}")


def _plan(context: HydraContext, sweep: DictConfig, combinations: list[list[str]]) -> Plan:
    tells = differing(combinations)
    runs = []
    for each in combinations:
        config = context.config_loader.load_sweep_config(sweep, each)
        with open_dict(config):
            del config["hydra"]
        runs.append((planned(sweep, config, each, tells), config))
    return Plan([run for run, _ in runs], runs, examine([config for _, config in runs]))


def returned(run: Planned, config: DictConfig) -> JobReturn:
    """A run that is done, as Hydra passes it to a sweeper."""
    made = JobReturn(overrides=run.overrides, cfg=config, status=JobStatus.COMPLETED)
    made.return_value = load_result(run.folder)
    return made
