"""The process of a SLURM job that trains a group of runs, each named by its own command."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from hydra import compose, version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from omegaconf import DictConfig

from xent_bench.config.command_line import flags_first
from xent_bench.config.configure import check_sources, check_top_level
from xent_bench.config.explain import USER_ERRORS, refuse
from xent_bench.config.files import register_files
from xent_bench.config.schema import CONF, register_schema
from xent_bench.exit_codes import Exit
from xent_bench.process import garbage
from xent_bench.process.lost_output import outlive_output
from xent_bench.process.signals import Preempted, raise_on_signal
from xent_bench.process.streams import replace_what_cannot_be_shown
from xent_bench.runs.files import LOG
from xent_bench.runs.lacking import has_ended
from xent_bench.runs.outcome import outcome, pause_line
from xent_bench.sweeps.composer import Composer
from xent_bench.sweeps.endings import failure_of
from xent_bench.sweeps.even_offline import offline_if_silent, train_even_offline
from xent_bench.sweeps.groups import grouped
from xent_bench.sweeps.lines import LEGEND, result_line, say
from xent_bench.sweeps.plan import PlannedRun, planned_run
from xent_bench.together.members import Ended

WATCHED = ".watched"  # a lock in the folder of the jobs' logs, held by the command that watches
NOT_TOGETHER = "Not trained together: "
REFUSAL = re.compile(rf"^{NOT_TOGETHER}(.+)$", re.MULTILINE)


def train_commands(commands: Sequence[str], folder: Path) -> None:
    """Train what these commands of single runs say, as one where that can be done.

    Prints a line for each run that has ended, and exits with the code of the first failure. Runs
    that cannot train as one are left to the command that watches, which submits each alone; without
    one they are trained one after the other. `folder` holds the jobs' logs.
    """
    replace_what_cannot_be_shown()
    os.environ["HYDRA_FULL_ERROR"] = "1"
    garbage.pause()
    outlive_output()
    raise_on_signal()
    register_schema()
    register_files()
    try:
        sys.exit(GroupOfCommands(commands, folder).train())
    except USER_ERRORS as error:
        refuse(error)
    except (KeyboardInterrupt, Preempted):
        print("Preempted. The same command goes on from here.", flush=True)
        sys.exit(Exit.PREEMPTED)


class GroupOfCommands:
    """The runs of a job, and the exit codes of those that have failed."""

    def __init__(self, commands: Sequence[str], folder: Path) -> None:
        """Compose the config of each command; the error of one that is wrong is for all.

        Where MLflow does not answer on this node, the runs log to their folders alone.
        """
        sys.argv = shlex.split(commands[0])
        self.folder = folder
        self.runs = composed_commands(commands)
        self.codes: list[int] = []
        for _, config in self.runs:
            check_top_level(config)
            check_sources(config)
        offline_if_silent([config for _, config in self.runs])

    def train(self) -> int:
        """Train what is not done; returns the exit code."""
        say(LEGEND)
        open_runs = []
        for run, config in self.runs:
            if has_ended(run.folder, run.pause_after):
                self._train_alone((run, config))  # it may lack something beside its training
            else:
                open_runs.append((run, config))
        # those that were put back into the queue may have come to different steps
        for group in grouped(open_runs, jobs=1):
            if len(group) == 1:
                self._train_alone(group[0])
            elif reason := self._train_as_one(group):
                say(f"{NOT_TOGETHER}{reason}")
                if is_watched(self.folder):
                    return Exit.NOT_AS_EXPECTED
                for member in group:
                    self._train_alone(member)
        return self.codes[0] if self.codes else Exit.DONE

    def _train_as_one(self, group: Sequence[PlannedRun]) -> str:
        """Train a group; returns why that cannot be done, if so."""
        from xent_bench.together.train_group import Member, NotTogether, train_alone, train_group

        members = [Member(config, run.command) for run, config in group]

        def train(numbers: Sequence[int], ended: Ended) -> None:
            if len(numbers) == 1:
                train_alone(numbers[0], members[numbers[0]], ended)
            else:
                some = [members[number] for number in numbers]
                train_group(some, lambda member, error: ended(numbers[member], error))

        try:
            self._even_offline(group, train)
        except NotTogether as refusal:
            return str(refusal)
        return ""

    def _train_alone(self, run: PlannedRun) -> None:
        from xent_bench.together.train_group import Member, train_alone

        member = Member(run[1], run[0].command)
        self._even_offline([run], lambda _, ended: train_alone(0, member, ended))

    def _even_offline(
        self, runs: Sequence[PlannedRun], train: Callable[[Sequence[int], Ended], None]
    ) -> None:
        """Train runs by their places, and print how each has ended."""
        configs = [config for _, config in runs]
        train_even_offline(configs, train, lambda place, error: self._end(runs[place], error))

    def _end(self, member: PlannedRun, error: BaseException | None) -> None:
        run, config = member
        if error is not None:
            failure = failure_of(error, run.folder / LOG)
            self.codes.append(failure.code)
            say(failure_line(run.folder, failure.reason, failure.code))
            return
        result = outcome(run.folder)
        line = pause_line(result) or result_line(result, config.calibrator.name)
        say(f"{run.folder.name} {line}")


def failure_line(folder: Path, reason: str, code: int) -> str:
    """The line in a job's log that says of one of its runs why it has no result."""
    return f"{folder.name} FAILED: {reason} (exit code {code})"


def failure_in(text: str, folder: Path) -> tuple[str, int] | None:
    """Find that line in a log: the reason and the exit code of the run; None without one."""
    line = rf"^{re.escape(folder.name)} FAILED: (.+) \(exit code (\d{{1,3}})\)$"
    lines = re.findall(line, text, re.MULTILINE)
    return (lines[-1][0], int(lines[-1][1])) if lines else None


def refusal_in(text: str) -> str:
    """The reason in a job's log why its runs were not trained as one; empty without one."""
    reasons = REFUSAL.findall(text)
    return reasons[-1] if reasons else ""


def is_watched(folder: Path) -> bool:
    """Whether a command watches the jobs whose logs are in this folder."""
    try:
        with FileLock(folder / WATCHED, timeout=0):
            return False
    except Timeout:
        return True


def composed_commands(commands: Sequence[str]) -> list[PlannedRun]:
    """Compose the run of each command as `xent-train` does; all add the same folders to ours."""
    version.setbase("1.3")
    parser = get_args_parser()
    typed = [flags_first(shlex.split(command)[1:]) for command in commands]
    options = [parser.parse_args(words) for words in typed]
    search_path = create_config_search_path(str(CONF))
    if options[0].config_dir:
        search_path.prepend(
            provider="command-line",
            path=f"file://{Path(options[0].config_dir).absolute()}",
            anchor=SearchPathQuery(provider="schema"),
        )
    Hydra.create_main_hydra2(task_name="train", config_search_path=search_path)
    composer = Composer("train")
    first = options[0].overrides
    whole: DictConfig = compose("train", first, return_hydra_config=True)  # equal for all of them
    planned = []
    for command, option in zip(commands, options, strict=True):
        config = composer.config(option.overrides)
        run = planned_run(whole, config, option.overrides, set())._replace(command=command)
        planned.append((run, config))
    return planned
