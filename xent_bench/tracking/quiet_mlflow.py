"""Settings of MLflow's client, which it reads when it is imported: import this module before it."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each run
# The default hangs for minutes, and a request that is retried unseen may create a run twice
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
