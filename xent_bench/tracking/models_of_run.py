"""The models that MLflow has of one of its runs, and what becomes of them when the run goes."""

from mlflow import MlflowClient
from mlflow.entities import LoggedModel

MOST_MODELS = 50  # of one run that are looked at: it has one


def models_of_run(client: MlflowClient, experiment_id: str, run_id: str) -> list[LoggedModel]:
    """The models of a run that are not deleted, the oldest first."""
    models = client.search_logged_models(
        [experiment_id], f"source_run_id = '{run_id}'", max_results=MOST_MODELS
    )
    return sorted(models, key=lambda model: model.creation_timestamp)


def put_away_models(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    """Delete the models of a run in MLflow, where none of them is a version of a registered model.

    What is registered may be in service, and outlives its run.
    """
    models = models_of_run(client, experiment_id, run_id)
    if models and not client.search_model_versions(f"run_id = '{run_id}'", max_results=1):
        for model in models:
            client.delete_logged_model(model.model_id)
