"""What a person sees of a run or a sweep, beside the progress bar: a Hydra callback.

It is also where a sweep is checked as a whole: a mistake in its last combination is refused
before the first is trained.
"""

import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from xent_bench.configure import check, check_top_level
from xent_bench.explain import CONFIG_ERRORS, USER_ERRORS, explain, refuse
from xent_bench.failures import EXIT_CODES
from xent_bench.schema import run_folder, run_name


class Console(Callback):
    """One line a run; before a sweep what there is to do, after it what to type next."""

    def __init__(self) -> None:
        """A single run, until a sweep says otherwise."""
        self.runs, self.done_before, self.ended = 1, 0, 0
        self.failures: list[Exception] = []
        self.start = time.monotonic()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every combination and count those still to be trained."""
        try:
            configs = list(_combinations(config))
            for each in configs:
                check_top_level(each)
            missing = [each for each in configs if not _is_done(each)]
            if missing:
                _say(f"{len(configs)} runs, {len(missing)} to train; loading PyTorch ...")
            for each in missing:
                check(each)
        except CONFIG_ERRORS as error:  # Hydra would make a warning of it
            refuse(error)
        self.runs, self.done_before = len(configs), len(configs) - len(missing)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember whether there is anything to train."""
        self.was_done = _is_done(config)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """The run's result or its failure; after the last run of a sweep, the sum of it."""
        self.ended += 1
        if job_return.status is JobStatus.FAILED:
            self._say_failure(config, job_return._return_value)
        elif not self.was_done or self.runs == 1:
            _say(f"{self._count()}{_summary(job_return.return_value)}{self._time_left()}")
        if self.ended == self.runs:
            self._say_sum(config)
            if self.failures:
                sys.exit(EXIT_CODES.get(type(self.failures[0]), 1))

    def _count(self) -> str:
        return f"[{self.ended:2}/{self.runs}] " if self.runs > 1 else ""

    def _time_left(self) -> str:
        left = self.runs - max(self.ended, self.done_before)
        trained = self.ended - self.done_before
        if left <= 0 or trained <= 0:
            return ""
        seconds = (time.monotonic() - self.start) / trained * left
        return f"   {_duration(seconds)} left"

    def _say_failure(self, config: DictConfig, error: Any) -> None:
        self.failures.append(error)
        known = isinstance(error, USER_ERRORS)
        if self.runs == 1 and known:
            refuse(error)
        if self.runs > 1:
            reason = explain(error, sys.argv[1:]) if known else f"{type(error).__name__}: {error}"
            _say(f"{self._count()}{run_name(config):14} FAILED: {reason}")
            if not known:
                traceback.print_exception(error)

    def _say_sum(self, config: DictConfig) -> None:
        folder = run_folder(config)
        if self.runs == 1 and not self.failures:
            was_done = " (done before: nothing was trained)" if self.was_done else ""
            _say(f"Folder: {folder}{was_done}")
        elif self.runs > 1:
            trained = self.runs - self.done_before - len(self.failures)
            failed = f", {len(self.failures)} failed" if len(self.failures) else ""
            before = f"{self.done_before} done before, " if self.done_before else ""
            took = _duration(time.monotonic() - self.start)
            _say(f"{self.runs} runs: {before}{trained} trained{failed} in {took}")
        if self.ended > len(self.failures):
            _say(f"Compare: xent-report {folder.parent}")


def _combinations(config: DictConfig) -> Iterator[DictConfig]:
    """The config of each run of a sweep, by Hydra's own expansion of it."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    sweeper = config.hydra.sweeper
    if not sweeper._target_.endswith(".BasicSweeper"):
        return  # another sweeper chooses as it goes; each run is checked when it starts
    arguments = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    arguments += config.hydra.overrides.task
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides(arguments)
    for combination in BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]:
        yield compose(config.hydra.job.config_name, combination)


def _is_done(config: DictConfig) -> bool:
    return (run_folder(config) / "result.json").exists()


def _summary(result: dict[str, Any]) -> str:
    metrics = result["metrics"]
    nll, ece = (metrics.get(f"test/{key}") for key in ("nll", "ece"))
    raw = "" if nll is None else f"  NLL {nll:6.3f}  ECE {100 * ece:5.2f} %"
    return (
        f"{result['name']:14} top-1 {100 * metrics['test/top1']:6.2f} %{raw or ' ' * 25}"
        f"   scaled: NLL {metrics['test_ts/nll']:6.3f}  ECE {100 * metrics['test_ts/ece']:5.2f} %"
        f"  {result['seconds']:6.1f} s"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _say(line: str) -> None:
    print(line, flush=True)
