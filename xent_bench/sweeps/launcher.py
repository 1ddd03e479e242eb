"""The launchers' common part: the runs that they are given, and what a sweeper gets back."""

import shlex
import sys
from abc import abstractmethod
from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from xent_bench.config.configure import check_top_level
from xent_bench.runs.files import is_pending
from xent_bench.runs.outcome import outcome
from xent_bench.runs.sweep_record import Planned
from xent_bench.sweeps.combinations import differing
from xent_bench.sweeps.lines import Tally, say
from xent_bench.sweeps.plan import Plan, PlannedRun, check_parts, planned_run, trains_here
from xent_bench.sweeps.recall import forget
from xent_bench.tables import n_runs


class SweepLauncher(Launcher):
    """A launcher of the runs that the session has planned, or that another sweeper chooses."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep Hydra's context and the sweep's config."""
        self.context, self.config = hydra_context, config
        self.launched: list[Planned] = []  # in this command
        self.alone: dict[str, str] = {}  # kinds of groups that do not train as one, and why

    @abstractmethod
    def train(self, missing: list[PlannedRun], gpus: int, tally: Tally) -> None:
        """Train these runs, and tell the tally how each has ended."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train the runs that another sweeper chooses. Exits with the first failure's code."""
        plan = self._plan([list(overrides) for overrides in job_overrides])
        self.launch_round(plan, Tally(len(plan.runs), len(plan.missing)))
        return [returned(run, config) for run, config in plan.missing]

    def launch_round(self, plan: Plan, tally: Tally, *, is_last: bool = True) -> None:
        """Train the plan's missing runs. The last round ends the sweep, as `finish` does."""
        self.launched += [run for run, _ in plan.missing]
        self.train(plan.missing, plan.gpus, tally)
        if is_last:
            self.finish(tally)

    def finish(self, tally: Tally) -> None:
        """Print the sum of the sweep. Exits with the code of the first failure, if there is one."""
        folder = self.launched[-1].folder.parent
        tally.say_sum(folder)
        if tally.was_refused:
            forget(folder)
        _say_what_mlflow_lacks(self.launched)
        if tally.codes:
            sys.exit(tally.codes[0])

    def _plan(self, combinations: list[list[str]]) -> Plan:
        varied = differing(combinations)
        runs = []
        for overrides in combinations:
            config = self.context.config_loader.load_sweep_config(self.config, overrides)
            with open_dict(config):
                del config["hydra"]
            check_top_level(config)
            runs.append((planned_run(self.config, config, overrides, varied), config))
        gpus = check_parts(runs, here=trains_here(self.config))
        return Plan([run for run, _ in runs], runs, 0, gpus)


def _say_what_mlflow_lacks(trained: list[Planned]) -> None:
    lacking = [run for run in trained if is_pending(run.folder)]
    if lacking:
        folder = shlex.quote(str(lacking[0].folder.parent))
        say(f"{n_runs(len(lacking))} not in MLflow yet: xent-sync {folder}")


def returned(run: Planned, config: DictConfig) -> JobReturn:
    """The result of a run, or its pause, in the form in which Hydra passes it to a sweeper."""
    job_return = JobReturn(overrides=run.overrides, cfg=config, status=JobStatus.COMPLETED)
    job_return.return_value = outcome(run.folder)
    return job_return
