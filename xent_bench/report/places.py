"""Runs of several places: folders and MLflow stores, of which none may have another's runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xent_bench.addresses import masked_address
from xent_bench.config.nearest import hint
from xent_bench.failures import UsageError
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.files import RUN_ID
from xent_bench.runs.result import Run


class Place(NamedTuple):
    """A folder or a store as it is typed, with its finished and unfinished runs."""

    name: str
    runs: list[Run]
    unfinished: list[Unfinished]

    @property
    def is_store(self) -> bool:
        """Whether it is an MLflow store, not a folder."""
        return is_store(self.name)


def is_store(place: str) -> bool:
    """Whether a place is the address of an MLflow store, not a folder."""
    return "://" in place


def load_places(places: Sequence[str], experiment: str | None) -> list[Place]:
    """Load the runs of every place, or those of one experiment.

    UsageError for a place that is given twice, or lies in another one, and for an experiment that
    no place has; ValueError for a folder that does not exist, a place without a finished run, and
    a run that two places have; Unavailable for a store that cannot be reached.
    """
    _refuse_overlap(places)
    # a store is asked for the experiment alone; of several places, not every one need have it
    asked = experiment if len(places) == 1 else None
    loaded = [_load(place, asked) for place in places]
    refuse_twins([place.name for place in loaded], [place.runs for place in loaded])
    if experiment is not None:
        loaded = _of_experiment(loaded, experiment)
    return _without_finished(loaded) if len(loaded) > 1 else loaded


def folder_finder(places: Sequence[Place], folder: Path) -> Callable[[Run], Path]:
    """A function that returns the folder with a run's files.

    If the run is in a store, it fetches the run's files into `folder`, once.
    """
    stores = {
        run.tags[RUN_ID]: place.name for place in places if place.is_store for run in place.runs
    }
    fetched: dict[str, Path] = {}

    def find_folder(run: Run) -> Path:
        run_id = run.tags.get(RUN_ID, "")
        if run.folder is not None or run_id not in stores:
            return run.folder or folder
        from xent_bench.tracking.stored_runs import fetch

        if run_id not in fetched:
            fetched[run_id] = fetch(run, stores[run_id], folder)
        return fetched[run_id]

    return find_folder


def store_to_publish(places: Sequence[str]) -> str | None:
    """The store that the report is published in; None for those that the runs' configs name.

    UsageError for a store among several places.
    """
    stores = [place for place in places if is_store(place)]
    if stores and len(places) > 1:
        raise UsageError(
            f"--publish: expected folders, or one store alone, got {len(places)} places with "
            f"{masked_address(stores[0])}; publish each store by itself"
        )
    return stores[0] if stores else None


def _load(place: str, experiment: str | None) -> Place:
    if is_store(place):
        from xent_bench.tracking.stored_runs import load_stored_runs  # MLflow takes two seconds

        return Place(place, *load_stored_runs(place, experiment))
    from xent_bench.runs.begun import load_unfinished
    from xent_bench.runs.result import load_runs

    unfinished = load_unfinished(Path(place))
    return Place(place, load_runs(Path(place)), unfinished)


def _refuse_overlap(places: Sequence[str]) -> None:
    """Raise a UsageError where a place is given twice, or lies in another one."""
    resolved: dict[str | Path, str] = {}
    for place in places:
        where = place if is_store(place) else Path(place).resolve()
        if where in resolved:
            raise UsageError(
                f"expected each place once, got {masked_address(place)} twice; its runs would "
                f"count twice"
            )
        resolved[where] = place
    folders = {where: name for where, name in resolved.items() if isinstance(where, Path)}
    for inner, name in folders.items():
        for outer in inner.parents:
            if outer in folders:
                raise UsageError(
                    f"expected folders apart, got {folders[outer]} and {name}, which lies in it; "
                    f"give one of them"
                )


def refuse_twins(names: Sequence[str], runs: Sequence[Sequence[Run | Unfinished]]) -> None:
    """Raise a ValueError where two places have the same run: it would count twice.

    `runs` has those of each place, whose names are `names`.
    """
    first: dict[tuple[str, str], int] = {}
    for number, of_place in enumerate(runs):
        for run in of_place:
            if "key" not in run.tags:
                continue
            other = first.setdefault((run.experiment, run.tags["key"]), number)
            if other != number:
                raise ValueError(
                    f"the same run twice, which would count twice: {run.name} of experiment "
                    f"{run.experiment} is in {masked_address(names[other])} and in "
                    f"{masked_address(names[number])}; give one of them, or move one copy away"
                )


def _of_experiment(places: Sequence[Place], experiment: str) -> list[Place]:
    """The places with the runs of one experiment alone."""
    experiments = {run.experiment for place in places for run in place.runs}
    if experiment not in experiments:
        expected = f"expected one of {', '.join(sorted(experiments))}, got {experiment}"
        raise UsageError(f"--experiment: {expected}{hint(experiment, experiments)}")
    return [
        Place(
            place.name,
            [run for run in place.runs if run.experiment == experiment],
            [run for run in place.unfinished if run.experiment == experiment],
        )
        for place in places
    ]


def _without_finished(places: Sequence[Place]) -> list[Place]:
    """The places without the unfinished runs that another place has, finished or not."""
    seen = {_identity(run) for place in places for run in place.runs}
    result = []
    for place in places:
        unfinished = []
        for run in place.unfinished:
            if _identity(run) not in seen:
                seen.add(_identity(run))
                unfinished.append(run)
        result.append(place._replace(unfinished=unfinished))
    return result


def _identity(run: Run | Unfinished) -> tuple[Any, ...]:
    """Experiment and parameters as texts: a store has them as texts, and no key of a begun run."""
    return run.experiment, frozenset((key, str(value)) for key, value in run.params.items())
