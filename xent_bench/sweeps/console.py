"""The lines on the terminal about a run or a sweep: a Hydra callback that also plans the sweep."""

import shlex
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from xent_bench.config.explain import USER_ERRORS, exit_code, explain, refuse
from xent_bench.config.identity import run_folder, run_name
from xent_bench.exit_codes import Exit
from xent_bench.failures import release
from xent_bench.metrics.shifts import on_other_images
from xent_bench.runs.files import has_result
from xent_bench.runs.outcome import pause_line
from xent_bench.sweeps.changed_code import changed_since
from xent_bench.sweeps.combinations import differing
from xent_bench.sweeps.lines import LEGEND, Tally, result_line, say
from xent_bench.sweeps.plan import Plan, Planner, planner_of
from xent_bench.sweeps.plugins import register_plugins
from xent_bench.sweeps.recall import forget


class Console(Callback):
    """Prints a line for each run, before a sweep what there is to do, and after it what to type."""

    def __init__(self) -> None:
        """Begin with neither plan nor tally, as for a single run."""
        self.tally: Tally | None = None
        self.planner: Planner | None = None
        self.plan: Plan | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Plan and check the whole sweep; where no run is missing, print the sum and leave."""
        try:
            register_plugins(config)
            self.planner = planner_of(config)
            if self.planner is None:
                return
            self.plan = self.planner.next_plan()
        except USER_ERRORS as error:
            refuse(error)
        except Exception:  # a bug of ours, which Hydra would hide behind a warning
            traceback.print_exc()
            sys.exit(Exit.NOT_AS_EXPECTED)
        varied = differing([run.overrides for run in self.plan.runs])
        keys = {word.partition("=")[0] for word in varied}
        missing = {run.folder for run, _ in self.plan.missing}
        for line in changed_since(r.folder for r in self.plan.runs if r.folder not in missing):
            say(line)
        self.tally = Tally(
            *(len(self.plan.runs), len(self.plan.missing), keys),
            has_stages=self.planner.designed.design.rungs > 1,
            may_grow=self.plan.may_grow,
        )
        if not self.plan.missing:
            with suppress(OSError):  # a folder that may not be written keeps the old one
                OmegaConf.save(config, Path(config.hydra.sweep.dir) / "multirun.yaml")
            self.tally.say_sum(self.plan.runs[-1].folder.parent)
            sys.exit(0)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember whether there is anything to train; a mistake is for `run` to refuse."""
        with suppress(Exception):  # Hydra would print a warning above the refusal
            self.had_result = has_result(run_folder(config))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Print the run's result or failure, and after the last run the sum."""
        if self.tally is None:
            self._end_single(config, job_return)
        elif job_return.status is JobStatus.FAILED:
            error = job_return._return_value
            kept = run_folder(config).exists()
            self.tally.failed(self._name(config), *_reason(error), kept=kept)
            release(error)
        else:
            result = job_return.return_value
            trained = not self.had_result
            self.tally.done(self._name(config), result, config.calibrator.name, trained=trained)
        if self.tally is not None and self.tally.ended == self.tally.total:
            self.tally.say_sum(run_folder(config).parent)
            if self.tally.was_refused:
                forget(run_folder(config).parent)
            if self.tally.codes:
                sys.exit(self.tally.codes[0])

    def _end_single(self, config: DictConfig, job_return: JobReturn) -> None:
        if job_return.status is JobStatus.FAILED:
            error: Any = job_return._return_value
            reason, code = _reason(error)
            if isinstance(error, USER_ERRORS):
                refuse(error)
            say(f"{run_name(config):14} FAILED: {reason}")
            sys.exit(code)
        if line := pause_line(job_return.return_value):
            say(f"{run_name(config):14} {line}")
            say(f"Folder: {run_folder(config)}; without machine.pause_after the command goes on")
            return
        say(LEGEND)
        say(f"{run_name(config):14} {result_line(job_return.return_value, config.calibrator.name)}")
        for line in on_other_images(job_return.return_value["metrics"]):
            say(line)
        folder = run_folder(config)
        for line in changed_since([folder] if self.had_result else []):
            say(line)
        say(f"Folder: {folder}{' (done before: nothing was trained)' * self.had_result}")
        say(f"Compare: xent-report {shlex.quote(str(folder.parent))}")

    def _name(self, config: DictConfig) -> str:
        assert self.plan is not None
        folder = run_folder(config)
        return next((run.name for run in self.plan.runs if run.folder == folder), folder.name)


def _reason(error: Any) -> tuple[str, int]:
    """The reason in one line, and the exit code; a bug's traceback is printed."""
    if isinstance(error, USER_ERRORS):
        return explain(error, sys.argv[1:]), exit_code(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}", exit_code(error)
