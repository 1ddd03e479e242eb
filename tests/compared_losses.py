"""Write runs of a loss with chosen scores, and compare them."""

from written_run import write_run

from xent_bench.comparison.compare import Comparison, Options, compare
from xent_bench.comparison.contrasts import Contrast
from xent_bench.runs.begun import Unfinished, load_unfinished, save_begun
from xent_bench.runs.result import load_runs

SEEDS = range(4)
NOISE = (0.0, 0.003, -0.002, 0.001)  # of a seed, the same for every loss
JITTER = (0.0004, -0.0003, 0.0001, -0.0002)  # of a loss with a seed


def write_loss(root, loss, top1, *, jitter=1.0, seeds=SEEDS, **params):
    """Write a run for each seed; their mean top-1 is about `top1`, on val as on test."""
    for seed in seeds:
        value = top1 + NOISE[seed] + jitter * JITTER[seed] * (1 if loss == "ce" else -1)
        write_run(root, loss, seed, metrics={"test/top1": value, "val/top1": value}, **params)


def compared(root, **options) -> Comparison:
    (comparison,) = compare(load_runs(root), load_unfinished(root), Options(**options))
    return comparison


def contrast(comparison: Comparison, label: str, key: str = "test/top1") -> Contrast:
    (match,) = [
        candidate
        for candidate in comparison.contrasts
        if (candidate.label, candidate.yardstick.key) == (label, key)
    ]
    return match


def unfinished(root, loss, seed, reason, **params):
    folder = root / "tested" / "-".join(map(str, [loss, seed, *params.values(), "begun"]))
    folder.mkdir(parents=True)
    chosen = {"loss": loss, "data": "digits", "model": "cnn", "optimizer.lr": 0.1, "seed": seed}
    command = f"xent-train loss={loss} seed={seed}"
    save_begun(Unfinished(f"{loss}-s{seed}", "tested", chosen | params, command, reason), folder)
