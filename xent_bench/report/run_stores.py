"""The MLflow server of a run, where it answers: the page links to the run in its UI."""

from collections.abc import Sequence
from functools import cache

from xent_bench.failures import Unavailable
from xent_bench.report.page_runs import StoreOf
from xent_bench.report.places import Place
from xent_bench.runs.files import CONFIG, RUN_ID
from xent_bench.runs.result import Run


def answering_stores(places: Sequence[Place]) -> StoreOf:
    """A function that returns the http address of a run's store, None where none answers.

    Each server is asked once. Files and databases have no UI to link to.
    """
    by_run = {
        run.tags.get(RUN_ID): place.name for place in places if place.is_store for run in place.runs
    }

    @cache
    def answers(uri: str) -> bool:
        from xent_bench.tracking.reach import complaint

        return not complaint(uri)

    def store(run: Run) -> str | None:
        run_id = run.tags.get(RUN_ID)
        uri = by_run.get(run_id) or _configured(run)
        is_server = uri is not None and uri.startswith(("http://", "https://"))
        return uri if run_id and is_server and answers(str(uri)) else None

    return store


def _configured(run: Run) -> str | None:
    """The address that the run's config names, if it may be used here."""
    if run.folder is None or not (run.folder / CONFIG).exists():
        return None
    from xent_bench.tracking.reach import store_of

    try:
        return store_of(run.folder)
    except (Unavailable, ValueError):
        return None
