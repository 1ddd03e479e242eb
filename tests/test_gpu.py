"""What needs a GPU: pytest -m gpu."""

import pytest
import torch

from xent_bench.train import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PARTS = ("data.n=2000", "data.size=16", "machine=gpu", "epochs=3")
CNN = ("model=cnn", "model.width=16")


def test_a_run_on_a_gpu_is_repeated_bit_for_bit(config):
    one, other = (run(config(*PARTS, *CNN, folder=folder)) for folder in ("one", "other"))

    assert one["tags"]["weights_sha256"] == other["tags"]["weights_sha256"]


@pytest.mark.parametrize("size", [16, 64])  # both stems
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_ce_and_sparse_ce_end_with_the_same_weights_on_a_gpu(config, size, precision):
    chosen = (*PARTS, "~model.width", "~model.depth", "model=resnet18", f"data.size={size}")
    chosen = (*chosen, f"precision={precision}", "data.n=600", "data.channels=3")
    dense, sparse = (run(config(*chosen, f"loss={loss}")) for loss in ("ce", "sparse_ce"))

    assert dense["tags"]["weights_sha256"] == sparse["tags"]["weights_sha256"]


@pytest.mark.parametrize("loss", ["ce", "square", "hinge", "focal", "mse"])
def test_a_gpu_learns_what_a_cpu_learns(config, loss):
    chosen = (*PARTS, *CNN, "epochs=10", f"loss={loss}")
    gpu = run(config(*chosen, folder="gpu"))["metrics"]
    cpu = run(config(*chosen, "machine=cpu", folder="cpu"))["metrics"]

    assert gpu["test/top1"] == pytest.approx(cpu["test/top1"], abs=0.03)
