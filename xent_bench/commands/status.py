"""xent-status: show which runs in a folder are done, running, missing or failed, and why."""

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from xent_bench.arguments import Parser
from xent_bench.exit_codes import Exit, exit_codes_help, one_line_errors
from xent_bench.failures import Unavailable
from xent_bench.printable import printable
from xent_bench.process.streams import replace_what_cannot_be_shown
from xent_bench.runs.files import JOB, has_result
from xent_bench.runs.status import Experiment, State, experiments_in
from xent_bench.runs.sweep_record import Sweep
from xent_bench.tables import n_runs

SHOWN = 20  # rows and commands of an experiment that are shown without --all

STYLES = {
    State.DONE: "green",
    State.RUNNING: "cyan",
    State.WAITING: "blue",
    State.PAUSED: "blue",
    State.STOPPED: "yellow",
    State.FAILED: "red",
    State.MISSING: "dim",
    State.NOT_IN_MLFLOW: "yellow",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the console script."""
    replace_what_cannot_be_shown()
    parser = _parser()
    options = parser.parse_args(arguments)
    change = options.remove or options.restore
    if change and options.runs is not None:
        parser.error(f"{options.runs}: expected runs only after --remove or --restore")
    is_done = False
    with one_line_errors("xent-status"):
        if change:
            _move(change, back=bool(options.restore))
            return
        folder = options.runs or Path("runs")
        experiments = experiments_in(folder, _slurm_jobs(folder), _progress)
        is_done = all(experiment.is_done for experiment in experiments)
        for experiment in experiments:
            _show(experiment, None if options.all else SHOWN)
    sys.exit(Exit.DONE if is_done else Exit.NOT_AS_EXPECTED)


def _progress(record: Sweep, folder: Path) -> Sweep:
    """The record of a sweep, with what its design has decided by the runs that are there now."""
    if record.began is None:
        return record
    from xent_bench.designs.progress import progress  # SciPy is slow to import

    return progress(record, folder)


def _move(folders: Sequence[Path], *, back: bool) -> None:
    """Remove runs, or bring them back, in MLflow and on the disk; all are checked first."""
    from xent_bench.runs import removed
    from xent_bench.tracking.removal import check_stores, delete_in_mlflow, restore_in_mlflow

    folders = list({removed.removed_place(folder): folder for folder in folders}.values())
    places = [removed.removed_place(folder) for folder in folders]
    check = removed.check_restorable if back else removed.check_removable
    for folder in folders:
        check(folder)
    check_stores(places if back else folders)
    move, undo = removed.put_away, removed.bring_back
    change = delete_in_mlflow
    if back:
        move, undo, change = undo, move, restore_in_mlflow
    for folder, place in zip(folders, places, strict=True):
        move(folder)
        try:
            in_mlflow = change(folder if back else place)
        except BaseException:  # folder and store stay as they were, together
            undo(folder)
            raise
        print(f"{'Restored' if back else 'Removed'}: {folder}{' and its MLflow run' * in_mlflow}")
    if not back:
        print(f"To undo: xent-status --restore {shlex.join(map(str, folders))}")
        roots = dict.fromkeys(str(place.parent.parent) for place in places)
        print(f"To delete for good: delete {shlex.join(roots)}, then type mlflow gc")


def _slurm_jobs(folder: Path) -> dict[str, bool]:
    """The user's SLURM jobs that have not ended, and whether they run; {} where SLURM is silent.

    SLURM is asked only if a run without a result was given to it.
    """
    given = (file for depth in ("*", "*/*") for file in folder.glob(f"{depth}/{JOB}"))
    if all(has_result(file.parent) for file in given):
        return {}
    from xent_bench.sweeps.slurm_queue import job_states

    try:
        states = job_states()
    except Unavailable as error:
        print(f"{error}; so which runs wait in its queue is unknown.", file=sys.stderr)
        return {}
    running = ("RUNNING", "COMPLETING")
    return {job: state.name in running for job, state in states.items() if not state.has_ended}


def _show(experiment: Experiment, most: int | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    open_runs = [run for run in experiment.runs if run.state is not State.DONE]
    open_runs.sort(key=lambda run: run.state is State.PAUSED)  # nobody needs to act on them
    counts = Counter(run.state for run in experiment.runs)
    total = len(experiment.runs)
    states = [f"{counts[state]} {state.value}" for state in State if counts[state]]
    console.print(Text(printable(f"\n{experiment.folder}"), style="bold"), soft_wrap=True)
    if open_runs:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        table.add_column("run", overflow="fold")
        table.add_column("state", no_wrap=True)
        table.add_column("", overflow="fold")
        for run in open_runs[:most]:
            state = Text(run.state.value, STYLES[run.state])
            table.add_row(Text(_line(run.name)), state, Text(printable(run.why)))
        console.print(table)
        if len(open_runs) > len(open_runs[:most]):
            print(f"and {len(open_runs) - len(open_runs[:most])} more (--all shows them)")
    print(f"{n_runs(total)}{': ' * bool(states)}{', '.join(states)}")
    if experiment.mixtures:
        print(_line(f"Not all runs saw the same: {'; '.join(experiment.mixtures)}"))
    for line in experiment.annotations[:most]:
        print(_line(line))
    _show_design(experiment, most)
    _say_commands(experiment, most)


def _show_design(experiment: Experiment, most: int | None) -> None:
    """Print what the design of the last sweep has decided, what may follow, and what to type."""
    for line in experiment.news[-most:] if most else experiment.news:
        print(_line(line))
    for line in experiment.further[:most]:
        print(_line(f"To follow: {line}"))
    if experiment.further and not any(run.state.needs_training for run in experiment.runs):
        print(_line(f"To go on: {experiment.command}"))


def _say_paused(experiment: Experiment) -> None:
    """Print what can be done about paused runs, if there are any."""
    paused = [run for run in experiment.runs if run.state is State.PAUSED]
    by_search = sum(" rungs=" in run.command for run in paused)
    if by_search:
        were = "paused run is a trial" if by_search == 1 else "paused runs are trials"
        print(f"{by_search} {were} that a search did not take further: nothing is to be typed")
    if by_search < len(paused):
        print("To go on with a paused run: its command without machine.pause_after")


def _say_commands(experiment: Experiment, most: int | None) -> None:
    """Print what to type next; no line is broken, so that it can be copied."""
    to_type = [run for run in experiment.runs if run.command and run.state.needs_training]
    of_sweep = [run for run in experiment.runs[: experiment.swept] if run.state.needs_training]
    if experiment.command and of_sweep:
        which = "all of them" if len(of_sweep) == len(to_type) else "those of the last sweep"
        print(_line(f"To finish {which}: {experiment.command}"))
    if to_type and not (experiment.command and len(to_type) == len(experiment.runs)):
        print("To finish one of them:")
        for run in to_type[:most]:
            print(_line(f"  {run.command}"))
    waiting = sum(run.state is State.WAITING for run in experiment.runs)
    if waiting:
        watch = f"; to watch: {experiment.command}" if experiment.command else ""
        print(_line(f"{n_runs(waiting)} in SLURM's queue: nothing is to be typed{watch}"))
    _say_paused(experiment)
    if experiment.to_sync:
        folder = shlex.quote(str(experiment.folder))
        print(_line(f"{experiment.to_sync} not in MLflow yet: xent-sync {folder}"))
    if experiment.removed:
        folder = shlex.quote(str(experiment.folder))
        removed = f"{experiment.removed} removed: xent-status --restore {folder}/RUN"
        print(_line(f"{removed} brings it back"))


def _line(text: str) -> str:
    """The text as one line: a name or a command of a file cannot look like a line of ours."""
    return printable(text).replace("\n", "\\n")


def _parser() -> Parser:
    parser = Parser(
        prog="xent-status",
        description="Show which runs of your sweeps are done, and what to type for the others. "
        "Missing runs are known only of the last sweep that was typed in each experiment.",
        epilog=exit_codes_help(Exit.NOT_AS_EXPECTED, Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE),
    )
    add = parser.add_argument
    add(
        "runs",
        nargs="?",
        type=Path,
        help="a folder with runs (default: runs)",
    )
    moves = parser.add_mutually_exclusive_group()
    moves.add_argument(
        "--remove",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="put away these run folders, and their runs in MLflow",
    )
    moves.add_argument(
        "--restore", nargs="+", type=Path, metavar="RUN", help="bring removed runs back"
    )
    add("--all", action="store_true", help=f"show more than {SHOWN} of an experiment")
    return parser
