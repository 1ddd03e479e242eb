"""What the launchers share: which runs they are given, and what a sweeper gets back."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from xent_bench.runs.files import RESULT
from xent_bench.runs.result import load_run
from xent_bench.runs.sweep_record import Planned
from xent_bench.sweeps.combinations import differing
from xent_bench.sweeps.fork_server import examine
from xent_bench.sweeps.lines import Tally
from xent_bench.sweeps.plan import Plan, planned
from xent_bench.sweeps.session import console_of


class PlannedRuns(Launcher):
    """Of a sweep that the Console has planned; or of a sweeper that chooses as it goes."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """What Hydra has."""
        self.context, self.config = hydra_context, config

    def chosen(
        self, job_overrides: Sequence[Sequence[str]]
    ) -> tuple[list[tuple[Planned, DictConfig]], int, Tally]:
        """The runs, the GPUs of this machine, and where to count what becomes of each."""
        combinations = [list(each) for each in job_overrides]
        console = console_of(self.context)
        plan, tally = console.plan, console.tally
        if plan is None or tally is None:
            plan, tally = self._plan(combinations), Tally(len(combinations), len(combinations))
        return [plan.config_of(each) for each in combinations], plan.gpus, tally

    def _plan(self, combinations: list[list[str]]) -> Plan:
        tells = differing(combinations)
        runs = []
        for each in combinations:
            config = self.context.config_loader.load_sweep_config(self.config, each)
            with open_dict(config):
                del config["hydra"]
            runs.append((planned(self.config, config, each, tells), config))
        return Plan([run for run, _ in runs], runs, examine([config for _, config in runs]))


def returned(run: Planned, config: DictConfig) -> JobReturn:
    """A run that is done, as Hydra passes it to a sweeper."""
    made = JobReturn(overrides=run.overrides, cfg=config, status=JobStatus.COMPLETED)
    made.return_value = load_run(run.folder / RESULT).content()
    return made
