"""The saving of a group: a checkpoint of its own for each run, from which it can go on alone."""

from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig
from pytorch_lightning import LightningModule, Trainer

from xent_bench.process.signals import Notice
from xent_bench.runs.pace import Pace, save_pace
from xent_bench.together.group import Group
from xent_bench.training.checkpoint_files import LastingCheckpointIO
from xent_bench.training.progress import Progress
from xent_bench.training.saving import Checkpointing


class GroupCheckpointIO(LastingCheckpointIO):
    """Writes a checkpoint to the folder of each run of the group."""

    group: Group | None = None  # set before training

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the learners' checkpoints; `checkpoint` has the progress of their training.

        A learner whose checkpoint cannot be written leaves the group.
        """
        assert self.group is not None
        self.group.hand_back()
        for learner in list(self.group.learners):
            try:
                learner.save(checkpoint)
            except Exception as error:
                self.group.let_go(learner, error)


class GroupCheckpointing(Checkpointing):
    """Saves all runs of a group between two steps; one that trains no further is let go."""

    def __init__(self, folder: Path, machine: DictConfig, notice: Notice) -> None:
        """`folder` is that of any run of the group."""
        super().__init__(folder, machine, notice)
        self.origin = {}  # each run has its own

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save where it is time, and let go of runs that `patience` ends."""
        group = cast(Group, pl_module)
        if not group.learners:
            return
        stopping = [learner for learner in group.learners if learner.stops]
        if stopping:  # first: each of them must have its last checkpoint
            self._save(trainer)
        else:
            super().on_train_epoch_end(trainer, pl_module)
        for learner in stopping:
            if learner in group.learners:  # not one that could not be saved
                group.let_go(learner, None)
        if stopping:
            self._heed(trainer)


class GroupProgress(Progress):
    """Shows the progress of a group on one line, and notes it in the folder of each run."""

    def __init__(
        self, name: str, folder: Path, epochs: int, checkpoints: GroupCheckpointIO
    ) -> None:
        """`name` is what the line begins with; `checkpoints` knows the group."""
        super().__init__(name, folder, epochs)
        self.checkpoints = checkpoints

    def save_pace(self, pace: Pace) -> None:
        """Note how far the group is in the folder of each run that is still in it."""
        assert self.checkpoints.group is not None
        for learner in self.checkpoints.group.learners:
            save_pace(learner.run.folder, pace)
