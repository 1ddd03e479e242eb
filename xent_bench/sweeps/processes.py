"""The launcher of xent-train -m on one machine: machine.jobs runs at a time, a process each."""

import os
import shlex
import sys
from collections.abc import Sequence

from hydra.core.utils import JobReturn

from xent_bench.config.schema import Accelerator
from xent_bench.runs.files import is_pending
from xent_bench.runs.sweep_record import Planned
from xent_bench.sweeps.launcher import SweepLauncher, returned
from xent_bench.sweeps.lines import say
from xent_bench.sweeps.recall import forget
from xent_bench.sweeps.supervision import QueuedRun, Supervision
from xent_bench.tables import n_runs


class Processes(SweepLauncher):
    """Trains each run in a process of its own; see Supervision for what the sweep survives."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train all runs. Exits with the code of the first failure, if there is one."""
        missing, gpus, tally = self.missing_runs(job_overrides)
        queue = [QueuedRun(run, config, config.machine.retries) for run, config in missing]
        machine = missing[0][1].machine
        gpus = 0 if machine.accelerator is Accelerator.cpu else gpus
        Supervision(queue, slots(machine.jobs, machine.devices, gpus), tally).train_all()
        folder = queue[-1].run.folder.parent
        tally.say_sum(folder)
        if tally.was_refused:
            forget(folder)
        _say_what_mlflow_lacks([run for run, _ in missing])
        if tally.codes:
            sys.exit(tally.codes[0])
        return [returned(run, config) for run, config in missing]


def _say_what_mlflow_lacks(trained: list[Planned]) -> None:
    lacking = [run for run in trained if is_pending(run.folder)]
    if lacking:
        folder = shlex.quote(str(lacking[0].folder.parent))
        say(f"{n_runs(len(lacking))} not in MLflow yet: xent-sync {folder}")


def slots(jobs: int, devices: int, gpus: int) -> list[str | None]:
    """CUDA_VISIBLE_DEVICES of each of `jobs` runs at a time, `devices` GPUs for each.

    None, to leave it as it is, where a single run wants more GPUs than there are. Where all runs
    together want more, some share one.
    """
    if devices > gpus:
        return [None] * jobs
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else [str(number) for number in range(gpus)]
    return [
        ",".join(names[(job * devices + device) % gpus] for device in range(devices))
        for job in range(jobs)
    ]
