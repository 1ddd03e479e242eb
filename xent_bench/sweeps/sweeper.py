"""The sweeper of xent-train -m: Hydra's basic sweeper, for the runs that are missing."""

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from xent_bench.config.explain import USER_ERRORS, refuse
from xent_bench.sweeps.launcher import SweepLauncher
from xent_bench.sweeps.session import session_of


class MissingRuns(BasicSweeper):
    """Gives the launcher the runs that are not done, from the plan: none is composed once more."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        """`params`: the sweep's parameters, as Hydra's basic sweeper takes them."""
        super().__init__(max_batch_size=None, params=params)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep the session, which has the plan."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.session = session_of(hydra_context)

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the missing runs, round by round; launcher or Console report how they ended."""
        assert self.config is not None
        planner, plan, tally = self.session.planner, self.session.plan, self.session.tally
        assert planner is not None
        assert plan is not None
        assert tally is not None
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        if not isinstance(self.launcher, SweepLauncher):  # of another library
            assert self.launcher is not None
            overrides = [run.overrides for run, _ in plan.missing]
            return [self.launcher.launch(overrides, initial_job_idx=0)]
        while True:
            is_last = not planner.designed.design.has_rounds
            self.launcher.launch_round(plan, tally, is_last=is_last)
            if is_last:
                return []
            planner.end_round(plan.missing)
            try:
                plan = planner.next_plan()
            except USER_ERRORS as error:
                refuse(error)
            if not plan.missing:
                self.launcher.finish(tally)
                return []
            tally.add_round(
                len(plan.runs), len(plan.missing), plan.done_before, may_grow=plan.may_grow
            )
