"""Lightning's logger: a run's folder first, and MLflow as a view of it that catches up."""

import getpass
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers.logger import Logger

from xent_bench.failures import Unreachable, reason
from xent_bench.runs.begun import Unfinished, keep_reason, save_begun
from xent_bench.runs.curves import Curves
from xent_bench.runs.files import set_pending
from xent_bench.tracking.reach import complaint, said, tracking_uri

if TYPE_CHECKING:
    from xent_bench.tracking.mirror import View

SOURCE = {"mlflow.source.name": "xent-train", "mlflow.source.type": "LOCAL"}  # a column of the UI
WAY_OUT = "machine.offline=true logs to the run's folder alone"


class Tracking(Logger):
    """What is logged is in the folder with the next checkpoint; `view` follows, or none does."""

    def __init__(self, curves: Curves, view: "View | None") -> None:
        """Go on after an earlier process."""
        super().__init__()
        self.curves, self.view = curves, view

    @property
    def run_id(self) -> str | None:
        """MLflow's."""
        return self.view.id if self.view else None

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "mlflow"

    @property
    def version(self) -> str | None:
        """The run's id."""
        return self.run_id

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: `open_run` has written the parameters."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """The points of a step; what is no curve stands in `result.json`."""
        assert step, "step 1 is the end of the first epoch"
        self.curves.add(step, metrics)
        if self.view:
            self.view.follow(self.curves)

    def save(self) -> None:
        """Before a checkpoint, after which nobody logs it again."""
        self.curves.save()


@contextmanager
def open_run(
    folder: Path, begun: Unfinished, uri: str | None, *, offline: bool = False
) -> Iterator[Tracking]:
    """Log a run in its folder, and in MLflow unless offline.

    At its end the folder says how it went: a result, or a reason. Then MLflow catches up: its run
    ends FINISHED, or FAILED with the reason as the tag `failure`, or KILLED if it was stopped.
    """
    curves = Curves(folder)  # damaged ones are told before MLflow hears of the run
    begun = replace(begun, tags=begun.tags | SOURCE | {"mlflow.user": _user()}, started=time.time())
    save_begun(begun, folder)
    place = tracking_uri(uri)
    if not offline and (wrong := complaint(place)):
        raise Unreachable(f"{wrong}; {WAY_OUT}")
    set_pending(folder)
    view = None if offline else _open(folder, begun, place)
    tracking = Tracking(curves, view)
    try:
        yield tracking
        tracking.save()
    except BaseException as error:
        with suppress(OSError):  # what went wrong first is what the user must see
            tracking.save()
            keep_reason(folder, reason(error))
        _catch_up(view, folder, begun, place)
        raise
    _catch_up(view, folder, begun, place)


def _open(folder: Path, begun: Unfinished, uri: str) -> "View":
    from xent_bench.tracking.mirror import OUT_OF_REACH, open_view  # MLflow takes seconds

    try:
        view = open_view(uri, folder, begun)
        view.resume()
    except OUT_OF_REACH as error:
        raise Unreachable(f"{said(uri, error)}; {WAY_OUT}") from error
    return view


def _catch_up(view: "View | None", folder: Path, begun: Unfinished, uri: str) -> None:
    """If nobody answers, the run is none the worse: say how to send it later."""
    if view is None:
        return
    from xent_bench.tracking.mirror import OUT_OF_REACH, catch_up

    try:
        catch_up(view, folder)
    except OUT_OF_REACH as error:
        kept = f"kept in {folder}: xent-sync {folder} uploads it"
        print(f"{begun.name}: {said(uri, error)}; {kept}", file=sys.stderr)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
