"""The launcher of xent-train -m on one machine: machine.jobs runs at a time, each in a process."""

import sys
from collections.abc import Sequence

from hydra.core.utils import JobReturn

from xent_bench.planned import Planned
from xent_bench.run_files import is_pending
from xent_bench.schema import Accelerator
from xent_bench.sweeps.gpus import slots
from xent_bench.sweeps.planned_runs import PlannedRuns, returned
from xent_bench.sweeps.record import forget
from xent_bench.sweeps.say import runs, say
from xent_bench.sweeps.supervision import Job, Supervision


class Processes(PlannedRuns):
    """One parent that trains nothing; see Supervision for what it survives."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train them all; leave with the exit code of the first failure, if there is one."""
        chosen, gpus, tally = self.chosen(job_overrides)
        jobs = [Job(run, config, config.machine.retries) for run, config in chosen]
        machine = chosen[0][1].machine
        gpus = 0 if machine.accelerator is Accelerator.cpu else gpus
        Supervision(jobs, slots(machine.jobs, machine.devices, gpus), tally).train_all()
        tally.say_sum(jobs[-1].run.folder.parent)
        if tally.was_refused:
            forget(jobs[-1].run.folder.parent)
        _say_what_mlflow_lacks([run for run, _ in chosen])
        if tally.codes:
            sys.exit(tally.codes[0])
        return [returned(run, config) for run, config in chosen]


def _say_what_mlflow_lacks(trained: list[Planned]) -> None:
    lacking = [each for each in trained if is_pending(each.folder)]
    if lacking:
        say(f"{runs(len(lacking))} not in MLflow yet: xent-sync {lacking[0].folder.parent}")
