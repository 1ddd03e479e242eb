"""The LightningModule of a group: trains all learners on the minibatches of their seeds."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NoReturn

from pytorch_lightning import LightningModule
from torch import Tensor

from xent_bench.together.choice import Engine, engine_of
from xent_bench.together.learner import Learner
from xent_bench.together.optimisation import Optimisation
from xent_bench.together.seed_batches import SeedBatch


class AllEnded(Exception):
    """The end of a training because no learner is left."""


class Group(LightningModule):
    """Trains its learners in step; one that fails, or trains no further, leaves the others.

    What a learner computes does not depend on who else is in the group.
    """

    def __init__(
        self,
        learners: Sequence[Learner],
        steps: int,
        end: Callable[[Learner, BaseException | None], None],
    ) -> None:
        """`steps` are those of an epoch; `end` is called for a learner that leaves."""
        super().__init__()
        self.automatic_optimization = False
        self.strict_loading = False  # the learners have read their own checkpoints
        self.learners, self.steps, self.end = list(learners), steps, end
        self.engine: Engine | None = None
        self.optimisation: Optimisation | None = None
        self.make_engine: Callable[[Sequence[Learner], Sequence[SeedBatch]], Engine] | None = None
        self.failures: list[tuple[Learner, BaseException, str]] = []

    def configure_optimizers(self) -> None:
        """No optimizer for Lightning: each learner has its own."""

    def on_train_epoch_start(self) -> None:
        """Begin the epoch of each learner."""
        for learner in self.learners:
            learner.begin_epoch()

    def training_step(self, minibatches: Iterator[tuple[SeedBatch, ...]]) -> None:
        """Take a step for each minibatch."""
        for learner in self.learners:
            learner.go_on()
        before = taken = self._taken()
        epoch = self.current_epoch * self.steps
        for batches in minibatches:
            engine, optimisation = self._ready(batches)
            engine.compute_gradients(batches, self._note)
            self._leave_out(taken)
            if self.optimisation is None:  # some have left: the others have their gradients
                optimisation = Optimisation(self.learners)
            optimisation.step(epoch + taken, self._note)
            self._leave_out(taken)
            taken += 1
        loop = self.trainer.fit_loop.epoch_loop.manual_optimization
        loop.optim_step_progress.increment_by(taken - before)
        self._for_each(lambda learner: learner.classifier.check_losses())

    def validation_step(self, batches: tuple[tuple[Tensor, ...], ...]) -> None:
        """Keep each learner's outputs on a batch of val."""
        self._for_each(
            lambda learner: learner.classifier.validation_step(batches[learner.seed_place])  # type: ignore[arg-type]  # three columns
        )

    def on_validation_model_eval(self) -> None:
        """Evaluate the learners' nets."""
        for learner in self.learners:
            learner.classifier.eval()

    def on_validation_model_train(self) -> None:
        """Go on with training."""
        for learner in self.learners:
            learner.classifier.train()

    def on_validation_epoch_end(self) -> None:
        """Write one point of each learner's curves."""

        def end_epoch(learner: Learner) -> None:
            val_ids = learner.built.loaders.val.split_ids
            learner.classifier.end_epoch(val_ids, learner.record.tracking)

        self._for_each(end_epoch)

    def let_go(self, learner: Learner, error: BaseException | None) -> None:
        """Go on without a learner, which has failed or trains no further."""
        if self.optimisation is not None:
            self.optimisation.hand_back()
        self.learners.remove(learner)
        self.engine = self.optimisation = None
        self.end(learner, error)
        if not self.learners:
            self.trainer.should_stop = True

    def hand_back(self) -> None:
        """Give the learners' own optimizers their states, so that they can be saved."""
        if self.optimisation is not None:
            self.optimisation.hand_back()

    def _taken(self) -> int:
        """Steps of the epoch that have been taken."""
        return len(self.learners[0].classifier.train_losses) if self.learners else self.steps

    def _ready(self, batches: Sequence[SeedBatch]) -> tuple[Engine, Optimisation]:
        if not self.learners:
            raise AllEnded
        if self.make_engine is None:
            self.make_engine = engine_of(self.learners, batches)
        if self.engine is None:
            self.engine = self.make_engine(self.learners, batches)
            for learner in self.learners:
                learner.note_company(len(self.learners), self.engine.words)
        if self.optimisation is None:  # after the engine, which may move the weights
            self.optimisation = Optimisation(self.learners)
        return self.engine, self.optimisation

    def _note(self, learner: Learner, error: BaseException, part: str) -> None:
        self.failures.append((learner, error, part))

    def _leave_out(self, step: int) -> None:
        """Let go of the learners that failed in a step, counted from 0 in its epoch."""
        failures, self.failures = self.failures, []
        for learner, error, part in failures:
            self.let_go(
                learner, _named(partial(learner.classifier.blame, error, part, step), error)
            )
        if not self.learners:
            raise AllEnded

    def _for_each(self, action: Callable[[Learner], Any]) -> None:
        """Call a function for each learner, and let go of those for which it raises an error."""
        for learner in list(self.learners):
            try:
                action(learner)
            except (Exception, SystemExit) as error:
                self.let_go(learner, error)


def _named(blame: Callable[[], None], error: BaseException) -> BaseException:
    """Note in an error of a step what `blame` knows; returns it, or the one raised in its place."""
    try:
        blame()
        _raise(error)
    except (Exception, SystemExit) as named:
        return named


def _raise(error: BaseException) -> NoReturn:
    raise error
