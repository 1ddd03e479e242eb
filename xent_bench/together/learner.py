"""A run of a group while it is trained: its net, its optimizer and its records."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from xent_bench.failures import DataError
from xent_bench.randomness import generator_states, set_generator_states
from xent_bench.runs.predictions import Predicted
from xent_bench.training.build import Built
from xent_bench.training.checkpoint_files import LastingCheckpointIO, refuse_foreign_moments
from xent_bench.training.classifier import Classifier
from xent_bench.training.fit import collected
from xent_bench.training.records import Record
from xent_bench.training.run import Prepared


@dataclass(eq=False)  # equal to itself alone: tensors have no single truth value
class Learner:
    """A member of a group that is being trained."""

    number: int  # the member's in the group
    run: Prepared
    built: Built
    record: Record
    contexts: ExitStack  # what ends with the run: its folder's lock, its records
    seed_place: int  # the place of its seed's batch among those of all seeds
    kind_place: int  # the place of its kind of target among the targets of a batch
    optimizer: Optimizer
    schedule: Any  # equal where the factors on the learning rate are; None for a user's own
    generators: tuple[Tensor, Tensor | None] | None = None  # what its dropout draws from

    @property
    def classifier(self) -> Classifier:
        """The net with its loss."""
        return self.built.classifier

    @property
    def stops(self) -> bool:
        """Whether `patience` has ended its training."""
        best = self.classifier.best_epoch
        return best is not None and best.stops

    def begin_epoch(self) -> None:
        """Give dropout its own randomness in the epoch, as where the run is trained alone."""
        self.classifier.on_train_epoch_start()
        self.generators = generator_states(self.classifier.device)

    def go_on(self) -> None:
        """Restore the state of an epoch that was interrupted, if there is one."""
        if self.classifier.resumed is not None:
            self.classifier.go_on()
            self.generators = generator_states(self.classifier.device)

    def note_company(self, runs: int, way: str) -> None:
        """Say in the run's tags with how many it is trained, and how they compute."""
        self.record.tags["together"] = f"{runs} runs, {way}" if runs > 1 else way
        self.classifier.company = runs

    def restore(self) -> int:
        """Read weights and optimizer from the run's checkpoint, if there is one.

        Returns how many steps of an unfinished epoch it has. DataError for a file that no such run
        has written.
        """
        path = self.run.checkpoint
        if path is None:
            return 0
        checkpoint = LastingCheckpointIO().load_checkpoint(path)
        try:
            self.classifier.load_state_dict(checkpoint["state_dict"])
            self.optimizer.load_state_dict(checkpoint["optimizer_states"][0])
            refuse_foreign_moments(self.optimizer)
            self.classifier.on_load_checkpoint(checkpoint)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise DataError(
                f"cannot go on from {path}, delete it to go on without: {reason}"
            ) from error
        return self.classifier.groups.taken

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Write a checkpoint from which the run goes on, alone or in a group.

        `checkpoint` has the progress of the group's training.
        """
        self.record.tracking.save()  # first: what a resumed run does not log again
        if self.generators is not None:
            set_generator_states(self.generators, self.classifier.device)
        content = checkpoint | {
            "state_dict": _copied(self.classifier.state_dict()),
            "optimizer_states": [_copied(self.optimizer.state_dict())],
        }
        self.built.checkpointing.on_save_checkpoint(self.built.trainer, self.classifier, content)
        self.classifier.on_save_checkpoint(content)
        LastingCheckpointIO().save_checkpoint(content, self.run.folder)

    def predict(self, split: str) -> Predicted:
        """Outputs, labels and ids of a whole split, in float32."""
        batches = getattr(self.built.loaders, split)
        self.classifier.eval()
        with torch.inference_mode():
            predictions = [self.classifier.predict_step(batch) for batch in batches]
        return collected(split, predictions, batches.split_ids)


def _copied(state: Any) -> Any:
    """A copy of a state in which each tensor has memory of its own; a file would hold all of it."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_copied(value) for value in state)
    return state
