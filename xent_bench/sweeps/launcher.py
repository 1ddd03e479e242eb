"""The launcher of xent-train -m on one machine: machine.jobs runs at a time, each in a process."""

import os
import sys
from collections.abc import Sequence

from hydra.core.utils import JobReturn

from xent_bench.config.schema import Accelerator
from xent_bench.runs.files import is_pending
from xent_bench.runs.sweep_record import Planned
from xent_bench.sweeps.launching import SweepLauncher, returned
from xent_bench.sweeps.lines import n_runs, say
from xent_bench.sweeps.recall import forget
from xent_bench.sweeps.supervision import QueuedRun, Supervision


class Processes(SweepLauncher):
    """One parent that trains nothing; see Supervision for what it survives."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train them all; leave with the exit code of the first failure, if there is one."""
        chosen, gpus, tally = self.chosen(job_overrides)
        jobs = [QueuedRun(run, config, config.machine.retries) for run, config in chosen]
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
        say(f"{n_runs(len(lacking))} not in MLflow yet: xent-sync {lacking[0].folder.parent}")


def slots(jobs: int, devices: int, gpus: int) -> list[str | None]:
    """CUDA_VISIBLE_DEVICES of each job; None, to leave it as it is, where a machine has too few.

    Where the jobs want more than there are, some share one.
    """
    if devices > gpus:
        return [None] * jobs
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else [str(number) for number in range(gpus)]
    return [
        ",".join(names[(job * devices + each) % gpus] for each in range(devices))
        for job in range(jobs)
    ]
