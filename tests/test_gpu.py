"""What needs a GPU: pytest -m gpu."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from test_training import built
from torch.nn import functional as F

from xent_bench.certificates.population import long_tail
from xent_bench.commands.losses import load_losses
from xent_bench.config.identity import run_folder
from xent_bench.config.targets import encode, target_kind
from xent_bench.models.cnn import cnn
from xent_bench.offer import offer
from xent_bench.runs.files import RESULT
from xent_bench.runs.result import load_run
from xent_bench.together.memory import bytes_of_run
from xent_bench.together.train_group import Member, train_group
from xent_bench.training.run import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
LOSSES = load_losses([])
BASE = ("data=synthetic", "data.size=16", "machine=gpu")


@contextmanager
def never_waiting() -> Iterator[None]:
    """A context in which a wait for the GPU is an error."""
    try:
        _set_sync_debug_mode("error")
        yield
    finally:
        _set_sync_debug_mode("default")


def _set_sync_debug_mode(mode: str) -> None:
    with warnings.catch_warnings():  # torch warns once that the mode is a prototype
        warnings.simplefilter("ignore", UserWarning)
        torch.cuda.set_sync_debug_mode(mode)


def test_a_run_on_a_gpu_is_repeated_bit_for_bit(config):
    one, other = (run(config("epochs=3", base=BASE, folder=name)) for name in ("one", "other"))

    assert one["tags"]["weights_sha256"] == other["tags"]["weights_sha256"]


@pytest.mark.parametrize("size", [16, 64])  # both stems
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_ce_and_sparse_ce_end_with_the_same_weights_on_a_gpu(config, size, precision):
    chosen = ("model=resnet18", f"data.size={size}", "data.channels=3", "data.n=600", "epochs=2")
    dense, sparse = (
        run(config(*chosen, f"precision={precision}", f"loss={loss}", base=BASE))
        for loss in ("ce", "sparse_ce")
    )

    assert dense["tags"]["weights_sha256"] == sparse["tags"]["weights_sha256"]


@pytest.mark.parametrize("loss", ["ce", "square", "hinge", "focal", "mse"])
def test_a_gpu_learns_what_a_cpu_learns(config, loss):
    gpu, cpu = (
        run(config(f"loss={loss}", "epochs=10", f"machine={name}", base=BASE, folder=name))
        for name in ("gpu", "cpu")
    )

    assert gpu["metrics"]["test/top1"] == pytest.approx(cpu["metrics"]["test/top1"], abs=0.03)


# torch 2.11 compiles by functions of torch.jit that it has deprecated itself
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("mode", ["default", "reduce_overhead"])
def test_a_compiled_net_learns_what_an_eager_one_learns(config, mode):
    eager, compiled = (
        run(config("model=cnn", "epochs=5", f"machine.compile={each}", base=BASE, folder=each))
        for each in ("none", mode)
    )

    assert compiled["metrics"]["test/top1"] == pytest.approx(
        eager["metrics"]["test/top1"], abs=0.03
    )


def test_a_gpu_sees_the_augmented_images_that_a_cpu_sees(config):
    recipe = ("data.flip=true", "data.crop=2", "augmentation.mixup=0.4", "augmentation.cutmix=1")
    passes = []
    for device in ("cpu", "cuda"):
        loaders, _ = built(config("loss=ce", *recipe, base=BASE), torch.device(device))
        passes.append([part.cpu() for batch in loaders.train.batches for part in batch])

    for one, other in zip(*passes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_steps_of_training_never_wait_for_the_gpu(config):
    device = torch.device("cuda")
    recipe = ("data.flip=true", "data.crop=2", "augmentation.cutout=4", "clip_norm=1")
    loaders, classifier = built(config("loss=ce", *recipe, base=BASE), device)
    classifier.to(device)
    optimizer = classifier.configure_optimizers()
    minibatches = iter(loaders.train.batches)

    def step() -> None:
        images, target = next(minibatches)
        value = classifier.loss(classifier._outputs(classifier.trained, images), target)
        value.backward(classifier.mean_weights)
        torch.nn.utils.clip_grad_norm_(classifier.net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(2):  # the first steps make what later ones use
        step()
    with never_waiting():
        for _ in range(4):
            step()


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_same_on_a_gpu_and_never_waits_for_it(name, rng):
    logits = 3 * torch.randn(64, 10, generator=rng)
    labels = torch.randint(10, (64,), generator=rng)
    target = encode(labels, target_kind(LOSSES[name].func), 10)
    found = {}
    for device in ("cpu", "cuda"):
        loss = offer(LOSSES[name], class_counts=long_tail(10).to(device))
        there, aim = logits.to(device).requires_grad_(), target.to(device)
        with never_waiting() if device == "cuda" else nullcontext():
            value = loss(there, aim)
            (gradient,) = torch.autograd.grad(value.sum(), there)
        found[device] = value.detach().cpu(), gradient.cpu()

    torch.testing.assert_close(found["cuda"], found["cpu"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("model", ["linear", "mlp", "cnn"])
def test_runs_that_are_trained_as_one_on_a_gpu_learn_what_they_learn_alone(config, model, graph):
    words = (f"model={model}", "epochs=10", f"machine.cuda_graph={str(graph).lower()}")
    alone, group = (
        [
            config(f"loss={loss}", *words, base=BASE, folder=folder)
            for loss in ("ce", "focal", "hinge")
        ]
        for folder in ("alone", "group")
    )
    for one in alone:
        run(one)
    errors: list[BaseException | None] = []
    train_group([Member(one, "") for one in group], lambda _, error: errors.append(error))
    results, others = (
        [load_run(run_folder(one) / RESULT) for one in some] for some in (group, alone)
    )

    assert errors == [None] * 3
    for result, other in zip(results, others, strict=True):
        assert result.tags["together"] == "3 runs, stacked" + ", as a CUDA graph" * graph
        assert result.metrics["test/top1"] == pytest.approx(other.metrics["test/top1"], abs=0.03)


def test_a_run_of_a_group_needs_no_more_memory_than_is_asked_for():
    net = cnn((3, 32, 32), 10)
    images = torch.randn(2, 3, 32, 32)
    needed = bytes_of_run(net, images, 256)
    net.cuda()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    F.cross_entropy(
        net(torch.randn(256, 3, 32, 32, device="cuda")),
        torch.zeros(256, dtype=torch.int64, device="cuda"),
    ).backward()

    assert torch.cuda.max_memory_allocated() - before < needed
