"""Lightning's logger, which writes to the run folder first and then to its mirror in MLflow."""

import getpass
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers.logger import Logger

from xent_bench.failures import Unreachable, reason
from xent_bench.runs.begun import Unfinished, save_begun
from xent_bench.runs.curves import Curves
from xent_bench.runs.files import set_pending
from xent_bench.tracking.again import again_if_cut
from xent_bench.tracking.named_stores import note_store
from xent_bench.tracking.reach import complaint, one_line, tracking_uri

if TYPE_CHECKING:
    from xent_bench.tracking.mirror import Mirror

SOURCE = {"mlflow.source.name": "xent-train", "mlflow.source.type": "LOCAL"}  # a column of the UI
WAY_OUT = "machine.offline=true logs to the run's folder alone"


class Tracking(Logger):
    """A logger whose points are in the run folder with the next checkpoint.

    The mirror in MLflow follows the folder; a run that is offline has none.
    """

    def __init__(self, curves: Curves, mirror: "Mirror | None") -> None:
        """Continue the curves of an earlier process."""
        super().__init__()
        self.curves, self.mirror = curves, mirror

    @property
    def run_id(self) -> str | None:
        """The id of the MLflow run; None offline."""
        return self.mirror.id if self.mirror else None

    @property
    def name(self) -> str:
        """The name that Lightning asks of a logger."""
        return "mlflow"

    @property
    def version(self) -> str | None:
        """The id of the MLflow run, which Lightning asks for under this name too."""
        return self.run_id

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: `open_run` has written the parameters."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add the points of a step to the curves; what is no curve stands in `result.json`."""
        assert step, "step 1 is the end of the first epoch"
        self.curves.add(step, metrics)
        if self.mirror:
            self.mirror.follow(self.curves)

    def save(self) -> None:
        """Save the curves; called before a checkpoint, since a resumed run logs them only once."""
        self.curves.save()


@contextmanager
def open_run(
    folder: Path, begun: Unfinished, configured: str | None, *, offline: bool = False
) -> Iterator[Tracking]:
    """Log a run in its folder, and unless offline in the store that it is configured to use.

    At its end the folder says how it went: a result, or a reason. Then MLflow catches up: its run
    ends FINISHED, or FAILED with the reason as the tag `failure`, or KILLED if it was stopped, or
    is paused, which the tag `paused` says.
    """
    curves = Curves(folder)  # first: damaged ones are refused before MLflow hears of the run
    begun = replace(begun, tags=begun.tags | SOURCE | {"mlflow.user": _user()}, started=time.time())
    save_begun(begun, folder)
    uri = tracking_uri(configured)
    if configured:
        note_store(configured)
    if not offline and (failure := complaint(uri, [begun.experiment])):
        raise Unreachable(f"{failure}; {WAY_OUT}")
    set_pending(folder)
    mirror = None if offline else _open(folder, begun, uri)
    tracking = Tracking(curves, mirror)
    try:
        yield tracking
        tracking.save()
    except BaseException as error:
        with suppress(OSError):  # the first error is the one that the user must see
            tracking.save()
            save_begun(replace(begun, reason=reason(error)), folder)
        _catch_up(mirror, folder, begun, uri)
        raise
    _catch_up(mirror, folder, begun, uri)


def _open(folder: Path, begun: Unfinished, uri: str) -> "Mirror":
    from xent_bench.tracking.mirror import OUT_OF_REACH, open_mirror  # MLflow takes seconds

    try:
        mirror = again_if_cut(lambda: open_mirror(uri, folder, begun))
        again_if_cut(mirror.resume)
    except OUT_OF_REACH as error:
        raise Unreachable(f"{one_line(uri, error)}; {WAY_OUT}") from error
    return mirror


def _catch_up(mirror: "Mirror | None", folder: Path, begun: Unfinished, uri: str) -> None:
    """Send the end of the run; where nobody answers, print how to send it later."""
    if mirror is None:
        return
    from xent_bench.tracking.mirror import OUT_OF_REACH, catch_up

    try:
        again_if_cut(lambda: catch_up(mirror, folder))
    except OUT_OF_REACH as error:
        kept = f"kept in {folder}: xent-sync {shlex.quote(str(folder))} uploads it"
        print(f"{begun.name}: {one_line(uri, error)}; {kept}", file=sys.stderr)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
