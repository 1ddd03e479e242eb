"""Write the runs of a search: drawn points, paused and diverged trials, fresh seeds."""

import json

from written_run import write_run

from xent_bench.runs.begun import Unfinished, pause, save_begun
from xent_bench.runs.files import CURVES
from xent_bench.runs.reading import sealed

EPOCHS = 20
SEARCH = (0, 1, 2)  # seeds of the search
LUCK = (0.001, -0.002, 0.001, 0.0005, -0.0005, 0.0, 0.002, -0.001)  # of a seed
RATES = (0.001, 0.003, 0.01, 0.03)


def design(**keys):
    """The tag of a run that belongs to a design."""
    return {"design": json.dumps({"trials": 4} | keys, sort_keys=True)}


def write_trial(root, loss, top1, *, seeds=SEARCH, tags=None, spread=1.0, **params):
    """Write the finished runs of a trial; their scores are `top1` and a seed's luck, on val too."""
    for seed in seeds:
        value = top1 + spread * LUCK[seed]
        scores = {"val/top1": value, "val/nll": 1 - value}
        scores |= {"test/top1": value, "test/nll": 1 - value, "test_ts/nll": 1 - value}
        params = {"epochs": EPOCHS} | params
        write_run(root, loss, seed, metrics=scores, tags=tags or design(), **params)


def write_begun(root, loss, reason, *, top1=0.5, epochs=0, seeds=SEARCH, tags=None, **params):
    """Write the runs of a trial without a result, with the curves of so many epochs."""
    for seed in seeds:
        folder = root / "tested" / "-".join(map(str, [loss, seed, *params.values(), "begun"]))
        folder.mkdir(parents=True)
        chosen = {"loss": loss, "data": "digits", "model": "cnn", "optimizer.lr": 0.1, "seed": seed}
        chosen |= {"epochs": EPOCHS} | params
        command = f"xent-train loss={loss} seed={seed}"
        begun = Unfinished(f"{loss}-s{seed}", "tested", chosen, command, reason, tags or design())
        save_begun(begun, folder)
        if epochs:
            write_curves(folder, top1, epochs)


def write_paused(root, loss, epoch, top1=0.5, **params):
    """Write the runs of a trial that successive halving took no further."""
    write_begun(root, loss, pause(epoch, EPOCHS), top1=top1, epochs=epoch, **params)


def write_curves(folder, top1, epochs):
    """Write the curves of a run, which end with this score on val."""
    steps = range(1, epochs + 1)
    points = {step: {"val/top1": top1 - 0.01 * (epochs - step)} for step in steps}
    written = {str(step): values | {"time/written": 1.0} for step, values in points.items()}
    (folder / CURVES).write_text(sealed(written))
