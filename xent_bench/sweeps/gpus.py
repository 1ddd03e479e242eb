"""Which GPUs each of the runs that train at a time may see."""

import os


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
