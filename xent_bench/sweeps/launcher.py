"""The launchers' common part: the runs that they are given, and what a sweeper gets back."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from xent_bench.config.configure import check_top_level
from xent_bench.runs.outcome import outcome
from xent_bench.runs.sweep_record import Planned
from xent_bench.sweeps.combinations import differing
from xent_bench.sweeps.lines import Tally
from xent_bench.sweeps.plan import Plan, check_parts, planned_run, trains_here
from xent_bench.sweeps.session import session_of


class SweepLauncher(Launcher):
    """A launcher of the runs that the session has planned, or that another sweeper chooses."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep Hydra's context and the sweep's config."""
        self.context, self.config = hydra_context, config

    def missing_runs(
        self, job_overrides: Sequence[Sequence[str]]
    ) -> tuple[list[tuple[Planned, DictConfig]], int, Tally]:
        """The runs to train with their configs, the number of GPUs, and the tally of the sweep."""
        combinations = [list(overrides) for overrides in job_overrides]
        session = session_of(self.context)
        plan, tally = session.plan, session.tally
        if plan is None or tally is None:
            plan, tally = self._plan(combinations), Tally(len(combinations), len(combinations))
        return [plan.missing_run(overrides) for overrides in combinations], plan.gpus, tally

    def _plan(self, combinations: list[list[str]]) -> Plan:
        varied = differing(combinations)
        runs = []
        for overrides in combinations:
            config = self.context.config_loader.load_sweep_config(self.config, overrides)
            with open_dict(config):
                del config["hydra"]
            check_top_level(config)
            runs.append((planned_run(self.config, config, overrides, varied), config))
        configs = [config for _, config in runs]
        gpus = check_parts(configs, here=trains_here(self.config))
        return Plan([run for run, _ in runs], runs, gpus)


def returned(run: Planned, config: DictConfig) -> JobReturn:
    """The result of a run, or its pause, in the form in which Hydra passes it to a sweeper."""
    job_return = JobReturn(overrides=run.overrides, cfg=config, status=JobStatus.COMPLETED)
    job_return.return_value = outcome(run.folder)
    return job_return
