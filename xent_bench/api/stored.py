"""The files of a trained run: its predictions, and its net as a calibrated classifier."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from xent_bench.runs import predictions as stored_predictions
from xent_bench.runs.files import PREDICTIONS
from xent_bench.runs.predictions import Predictions

if TYPE_CHECKING:
    from xent_bench.trained_net import TrainedNet

RunOrFolder: TypeAlias = "str | PathLike[str]"


def predictions(run: RunOrFolder) -> Predictions:
    """Read what a run predicted on calib and on test.

        stored = xb.predictions("runs/quickstart/ce-digits-cnn-s0-d302c68dc2")
        xb.score(stored.test.outputs, stored.test.target, link=stored.link)

    `run` is a run's folder, or a folder of runs, whose best is taken as `xb.load` does. The result
    has `calib` and `test`, each with `outputs` (n, classes), `target` and the examples' `id`; the
    names of the `classes`; and the `link` that reads the outputs. Calibrators are to be fitted on
    calib and scored on test. DataError, a ValueError, for a file that is missing or damaged.
    """
    from xent_bench.comparison.best_run import best_run

    return stored_predictions.load(best_run(Path(run)) / PREDICTIONS)


def load(run: RunOrFolder, *, device: str | None = None) -> "TrainedNet":
    """Load a run's net with its calibration: images in, log-probabilities out.

        net = xb.load("runs/quickstart")
        probabilities = net(images).exp()  # uint8 (n, channels, h, w) -> (n, classes)

    `run` is a run's folder. Of a folder of runs the best is taken by val alone: the loss of the
    best mean over its seeds, and of these the seed of the best val; `.record` says which it is.
    `device`: cpu or cuda; by default the kind that the run was tested on, where there is one.
    DataError, a ValueError, for several settings, and for files that are missing or damaged.
    """
    from xent_bench.comparison.best_run import best_run
    from xent_bench.trained_net import load as load_net

    return load_net(best_run(Path(run)), device=device)
