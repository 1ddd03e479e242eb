"""What a person sees of a run or a sweep, beside the progress bar: a Hydra callback.

It is also where a sweep is checked as a whole: a mistake in its last combination is refused
before the first is trained.
"""

import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from xent_bench.configure import check_sources, check_top_level, checked
from xent_bench.explain import CONFIG_ERRORS, USER_ERRORS, exit_code, explain, refuse
from xent_bench.failures import release
from xent_bench.schema import run_folder, run_name
from xent_bench.sweeps.combinations import combinations_of, composed, differing
from xent_bench.sweeps.record import recall, remember
from xent_bench.sweeps.run_line import LEGEND, duration, result_line


class Console(Callback):
    """One line a run; before a sweep what there is to do, after it what to type next."""

    def __init__(self) -> None:
        """A single run, until a sweep says otherwise."""
        self.total, self.to_train = 1, 1
        self.ended, self.trained = 0, 0
        self.failures: list[Exception] = []
        self.swept: set[str] = set()
        self.start = time.monotonic()

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse at once what can be seen without PyTorch, and soon what cannot."""
        try:
            if not _checked_done(config):
                _say("Loading PyTorch ...")
                _check_with_torch(config)
                _say(LEGEND)
        except CONFIG_ERRORS as error:  # Hydra would make a warning of it
            refuse(error)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every combination and count those still to be trained; with none, that is all."""
        if folders := recall(config):
            self._end_done_before(config, folders)
        try:
            combinations = combinations_of(config)
            runs = [(each, _checked_done(each)) for each in composed(config, combinations)]
            configs, missing = [run for run, _ in runs], [run for run, done in runs if not done]
            if missing:
                _say(f"{_runs(len(configs))}, {len(missing)} to train; loading PyTorch ...")
            for each in missing:
                _check_with_torch(each)
        except CONFIG_ERRORS as error:
            refuse(error)
        if len(configs) > 1 and remember(config, configs):
            self._end_done_before(config, [run_folder(each) for each in configs])
        self.total, self.to_train = len(configs), len(missing)
        self.swept = differing(combinations)
        self.sweep, self.configs = config, configs
        if missing:
            _say(LEGEND)
        self.start = time.monotonic()

    def _end_done_before(self, config: DictConfig, folders: list[Path]) -> NoReturn:
        """Say what Hydra would after it has composed every run twice more."""
        with suppress(OSError):  # runs of a swept experiment lie elsewhere; or may not be written
            OmegaConf.save(config, Path(config.hydra.sweep.dir) / "multirun.yaml")
        took = duration(time.monotonic() - self.start)
        _say(f"{_runs(len(folders))}: {len(folders)} done before; {took}")
        _say(f"Compare: xent-report {folders[-1].parent}")
        sys.exit(0)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember whether there is anything to train."""
        self.was_done = _is_done(config)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """The run's result or its failure; after the last run, the sum of it."""
        self.ended += 1
        if job_return.status is JobStatus.FAILED:
            self._end_in_failure(config, job_return._return_value)
        elif not self.was_done or self.total == 1:
            self.trained += not self.was_done
            result = result_line(job_return.return_value, config.calibrator.name)
            _say(f"{self._name(config)}{result}{self._time_left()}")
        if self.ended == self.total:
            self._say_sum(config)
            if self.total > 1:
                remember(self.sweep, self.configs)
            if self.failures:
                sys.exit(exit_code(self.failures[0]))

    def _name(self, config: DictConfig) -> str:
        count = f"[{self.ended:2}/{self.total}] " if self.total > 1 else ""
        names = [
            run_name(config),
            *(each for each in config.hydra.overrides.task if self._tells(each)),
        ]
        return f"{count}{' '.join(names):14} "

    def _tells(self, override: str) -> bool:
        return override in self.swept and not override.startswith(("loss=", "seed="))

    def _end_in_failure(self, config: DictConfig, error: Any) -> None:
        """Of a sweep, go on; Hydra would say nothing of it before the end."""
        self.failures.append(error)
        if isinstance(error, USER_ERRORS):
            if self.total == 1:
                refuse(error)
            _say(f"{self._name(config)}FAILED: {explain(error, sys.argv[1:])}")
        else:
            _say(f"{self._name(config)}FAILED: {type(error).__name__}: {error}")
            traceback.print_exception(error)
        release(error)

    def _time_left(self) -> str:
        """From the second run on: the first bears the imports."""
        now = time.monotonic()
        if self.trained < 2:
            self.first_trained = now
            return ""
        left = self.to_train - self.trained - len(self.failures)
        each = (now - self.first_trained) / (self.trained - 1)
        return f", {duration(each * left)} left" if left > 0 else ""

    def _say_sum(self, config: DictConfig) -> None:
        folder = run_folder(config)
        if self.total == 1:
            _say(f"Folder: {folder}{' (done before: nothing was trained)' * self.was_done}")
        else:
            done_before = self.total - self.trained - len(self.failures)
            counts = {
                "trained": self.trained,
                "done before": done_before,
                "failed": len(self.failures),
            }
            said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            _say(f"{_runs(self.total)}: {said}; {duration(time.monotonic() - self.start)}")
        if self.total > len(self.failures):
            _say(f"Compare: xent-report {folder.parent}")


def _runs(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"


def _checked_done(config: DictConfig) -> bool:
    """Whether there is nothing to train; if there is, its sources have been checked too."""
    check_top_level(config)
    if not (done := _is_done(config)):
        check_sources(config)
    return done


def _check_with_torch(config: DictConfig) -> None:
    from xent_bench.targets import checked_kind  # seconds of import

    checked(config)
    checked_kind(config)


def _is_done(config: DictConfig) -> bool:
    return (run_folder(config) / "result.json").exists()


def _say(line: str) -> None:
    with suppress(BrokenPipeError):  # xent-train | head: training goes on
        print(line, flush=True)
