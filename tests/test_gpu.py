"""What needs a GPU: pytest -m gpu."""

import pytest
import torch

from xent_bench.train import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PARTS = ("data=digits", "model=cnn", "machine=gpu", "epochs=5")


def test_a_run_on_a_gpu_is_repeated_bit_for_bit(config):
    one, other = run(config(*PARTS, folder="one")), run(config(*PARTS, folder="other"))

    assert one["tags"]["weights_sha256"] == other["tags"]["weights_sha256"]


@pytest.mark.parametrize("model", ["cnn", "resnet18"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_ce_and_sparse_ce_end_with_the_same_weights_on_a_gpu(config, model, precision):
    chosen = (*PARTS, f"model={model}", f"precision={precision}")
    if model == "resnet18":
        chosen = (*(each for each in PARTS if each != "model=cnn"), *chosen[-2:], "epochs=1")
    dense, sparse = (run(config(*chosen, f"loss={loss}")) for loss in ("ce", "sparse_ce"))

    assert dense["tags"]["weights_sha256"] == sparse["tags"]["weights_sha256"]


@pytest.mark.parametrize("loss", ["ce", "square", "hinge", "focal", "mse"])
def test_a_gpu_learns_what_a_cpu_learns(config, loss):
    chosen = ("data=digits", "model=cnn", "epochs=10", f"loss={loss}")
    cpu = run(config(*chosen, "machine=cpu", folder="cpu"))["metrics"]
    gpu = run(config(*chosen, "machine=gpu", folder="gpu"))["metrics"]

    assert gpu["test/top1"] == pytest.approx(cpu["test/top1"], abs=0.03)
