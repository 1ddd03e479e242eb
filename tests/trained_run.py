"""Readers of what a run left: its weights, its curves and its run in MLflow."""

import torch
from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from omegaconf import DictConfig

from xent_bench.config.identity import run_folder, run_key
from xent_bench.runs.curves import load_curves
from xent_bench.training.checkpoint_files import last_checkpoint


def weights(config: DictConfig) -> dict[str, torch.Tensor]:
    """The net's weights by name, from the last checkpoint."""
    last, _ = last_checkpoint(run_folder(config))
    return torch.load(last, weights_only=True)["state_dict"]


def assert_same_weights(one: DictConfig, other: DictConfig) -> None:
    """Fail unless the last checkpoints of two runs hold the same weights, bit for bit."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def mlflow_run(config: DictConfig) -> StoredRun:
    """The only MLflow run that has the key of `config`."""
    client = MlflowClient(config.machine.tracking)
    experiment = client.get_experiment_by_name(config.experiment)
    (stored,) = client.search_runs([experiment.experiment_id], f"tags.key = '{run_key(config)}'")
    return stored


def curve(config: DictConfig, key: str) -> list[tuple[int, float]]:
    """Every point (step, value) that MLflow stored under `key`, duplicates too."""
    client = MlflowClient(config.machine.tracking)
    history = client.get_metric_history(mlflow_run(config).info.run_id, key)
    return sorted((point.step, point.value) for point in history)


def untimed(config: DictConfig) -> list[tuple[int, dict[str, float]]]:
    """The curves in the run's folder, without times and durations."""
    steps = load_curves(run_folder(config)).items()
    return [(k, {key: v for key, v in values.items() if key[:5] != "time/"}) for k, values in steps]
