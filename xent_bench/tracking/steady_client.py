"""A client of MLflow that repeats a request whose answer was lost, where that does no harm."""

from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient

from xent_bench.tracking.again import again_if_cut

# Requests that have the same effect twice. `create_run` has not: `own_run.py` sees to it.
HARMLESS = (
    *("get_run", "search_runs", "get_experiment_by_name", "get_metric_history", "list_artifacts"),
    *("log_batch", "log_artifact", "set_terminated", "update_run", "set_tag", "set_experiment_tag"),
    *("search_logged_models", "list_logged_model_artifacts", "log_model_artifact"),
    *("set_logged_model_tags", "finalize_logged_model", "delete_logged_model"),
    *("search_model_versions", "set_registered_model_alias"),
)


class SteadyClient(MlflowClient):
    """A client whose harmless requests are repeated while their connection is cut."""


def _steady(name: str) -> Callable[..., Any]:
    def request(client: SteadyClient, *words: Any, **named: Any) -> Any:
        return again_if_cut(lambda: getattr(super(SteadyClient, client), name)(*words, **named))

    return request


for _name in HARMLESS:
    setattr(SteadyClient, _name, _steady(_name))
