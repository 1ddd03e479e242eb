"""The experiments for a GPU node, tried on a CPU: small files in the real format, an epoch."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cifar import write_pickles
from test_image_files import CLASSES, write_image

from xent_bench.config.identity import run_folder
from xent_bench.runs.files import WEIGHTS
from xent_bench.training.run import run

BRIEF = ("epochs=1", "batch_size=8", "machine.workers=0", "machine.compile=none")


def cifar10(root: Path) -> tuple[str, ...]:
    write_pickles(root, 10)
    return ("experiment=cifar10_losses", f"data.root={root}")


def imagenet(root: Path) -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("val", 4)):
        for name in CLASSES:
            for number in range(n):
                write_image(root / split / name / f"{name}_{number}.JPEG", rng)
    return ("experiment=imagenet_losses", f"data.root={root}", "data.size=64")


@pytest.mark.parametrize("experiment", [cifar10, imagenet], ids=lambda each: each.__name__)
def test_an_experiment_for_a_gpu_runs_on_files_in_the_real_format(config, tmp_path, experiment):
    base = experiment(tmp_path / "images")
    wanted = config(*BRIEF, "machine.accelerator=cpu", base=base)
    result = run(wanted)

    assert math.isfinite(result["metrics"]["test/nll"])
    assert result["params"]["precision"] == "bf16"
    assert (run_folder(wanted) / WEIGHTS).exists() == (experiment is imagenet)
    if experiment is imagenet:
        weights = torch.load(run_folder(wanted) / WEIGHTS, weights_only=True)
        assert weights["fc.weight"].shape == (3, 2048)
