"""Write runs as xent-train does, with chosen scores: for tests of the report."""

import json
from pathlib import Path
from typing import Any

from xent_bench.runs.result import Run, save_run

METRICS = {"top1": 0.9, "top5": 0.99, "nll": 0.4, "brier": 0.2, "ece": 0.03}
VERDICTS = {"test": "over-confident", "test_ts": "within noise", "test_ts_recipe": "within noise"}
P = {"over-confident": 1e-6, "within noise": 0.5}


def write_run(
    root: Path,
    loss: str,
    seed: int,
    shift: float = 0.0,
    *,
    weights: str | None = None,
    tags: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
    experiment: str = "tested",
    **params: Any,
) -> Path:
    """Write a run whose scores are METRICS plus `shift`; equal `weights` mean equal nets."""
    values = {key: value + shift for key, value in METRICS.items()}
    scores = {
        f"{s}/{key}": value for s in ("test", "test_ts", "val") for key, value in values.items()
    }
    verdicts = dict(VERDICTS)
    if loss == "hinge":
        scores = {k: v for k, v in scores.items() if k.startswith("test_ts") or "top" in k}
        del verdicts["test"]
    scores |= {"test_ts/temperature": 1.0, "test_ts/temperature_at_bound": 0.0}
    scores |= {f"{prefix}_null/p": P[word] for prefix, word in verdicts.items()}
    chosen = {"loss": loss, "data": "digits", "model": "cnn", "optimizer.lr": 0.1, "seed": seed}
    chosen |= params
    overrides = [f"{key}={value}" for key, value in chosen.items()]
    others = {key: value for key, value in chosen.items() if key != "loss"}
    run = Run(
        name=f"{loss}-s{seed}",
        experiment=experiment,
        params=chosen,
        metrics=scores | (metrics or {}),
        tags={"key": f"{chosen}", "weights_sha256": f"{weights or loss} {others}"}
        | {"hardware": "abacus", "torch": "2", "commit": "c0ffee", "scaled_map": "softmax(z / T)"}
        | {f"{prefix}_verdict": word for prefix, word in verdicts.items()}
        | (tags or {}),
        command=" ".join(["xent-train", *overrides]),
        n_test=359,
        seconds=1.5,
        examples_per_second=1000.0,
    )
    folder = root / experiment / "-".join(map(str, [loss, seed, *params.values()]))
    folder.mkdir(parents=True)
    save_run(run, folder)
    return folder


def edit(folder: Path, **changes: Any) -> None:
    """Change fields of the result.json in `folder`; a mapping is merged, not replaced."""
    file = folder / "result.json"
    content = json.loads(file.read_text())
    for name, change in changes.items():
        content[name] = content[name] | change if isinstance(change, dict) else change
    content.pop("sha256", None)  # as of a version that wrote none
    file.write_text(json.dumps(content))
