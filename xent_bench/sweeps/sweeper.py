"""The sweeper of xent-train -m: Hydra's basic sweeper, for the runs that are missing."""

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from xent_bench.sweeps.session import session_of


class MissingRuns(BasicSweeper):
    """Gives the launcher the runs that are not done, from the plan: none is composed once more."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        """`params`: the sweep's parameters, as Hydra's basic sweeper takes them."""
        super().__init__(max_batch_size=None, params=params)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take the plan that the session has made."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.plan = session_of(hydra_context).plan

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the missing runs; the launcher or the Console reports how they ended."""
        assert self.config is not None
        assert self.launcher is not None
        assert self.plan is not None
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        overrides = [run.overrides for run, _ in self.plan.missing]
        return [self.launcher.launch(overrides, initial_job_idx=0)]
