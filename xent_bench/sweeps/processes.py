"""The launcher of xent-train -m on one machine: machine.jobs processes, each a run or a group."""

import os

from xent_bench.config.schema import Accelerator
from xent_bench.sweeps.groups import grouped
from xent_bench.sweeps.launcher import SweepLauncher
from xent_bench.sweeps.lines import Tally
from xent_bench.sweeps.plan import PlannedRun
from xent_bench.sweeps.supervision import Supervision


class Processes(SweepLauncher):
    """Trains each group of runs in a process; see Supervision for what the sweep survives."""

    def train(self, missing: list[PlannedRun], gpus: int, tally: Tally) -> None:
        """Train the runs, machine.jobs processes at a time."""
        machine = missing[0][1].machine
        gpus = 0 if machine.accelerator is Accelerator.cpu else gpus
        places = slots(machine.jobs, machine.devices, gpus)
        groups = grouped(missing, machine.jobs, self.alone)
        Supervision(groups, places, tally, self.alone).train_all()


def slots(jobs: int, devices: int, gpus: int) -> list[str | None]:
    """CUDA_VISIBLE_DEVICES of each of `jobs` processes at a time, `devices` GPUs for each.

    None, to leave it as it is, where a single run wants more GPUs than there are. Where all
    processes together want more, some share one.
    """
    if devices > gpus:
        return [None] * jobs
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else [str(number) for number in range(gpus)]
    return [
        ",".join(names[(job * devices + device) % gpus] for device in range(devices))
        for job in range(jobs)
    ]
