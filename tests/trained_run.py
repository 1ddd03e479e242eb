"""Readers of what a run left: its weights, its curves and its run in MLflow."""

import torch
from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from omegaconf import DictConfig

from xent_bench.config.identity import run_folder, run_key
from xent_bench.runs.curves import load_curves
from xent_bench.training.checkpoint_files import last_checkpoint


def weights(config: DictConfig) -> dict[str, torch.Tensor]:
    last, _ = last_checkpoint(run_folder(config))
    return torch.load(last, weights_only=True)["state_dict"]


def assert_same_weights(one: DictConfig, other: DictConfig) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def mlflow_run(config: DictConfig) -> StoredRun:
    """The only one of its key."""
    client = MlflowClient(config.machine.tracking)
    experiment = client.get_experiment_by_name(config.experiment)
    (found,) = client.search_runs([experiment.experiment_id], f"tags.key = '{run_key(config)}'")
    return found


def curve(config: DictConfig, key: str) -> list[tuple[int, float]]:
    """Every stored point, duplicates too."""
    client = MlflowClient(config.machine.tracking)
    history = client.get_metric_history(mlflow_run(config).info.run_id, key)
    return sorted((point.step, point.value) for point in history)


def untimed(config: DictConfig) -> list[tuple[int, dict[str, float]]]:
    """The curves in the run's folder, without when, and how long it took."""
    steps = load_curves(run_folder(config)).items()
    return [(k, {key: v for key, v in each.items() if key[:5] != "time/"}) for k, each in steps]
