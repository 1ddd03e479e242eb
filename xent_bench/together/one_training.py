"""One training of several runs, from their folders to their results."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from pytorch_lightning import Trainer

from xent_bench.config.identity import run_folder
from xent_bench.config.schema import GROUPS, pause_after
from xent_bench.config.shift_asked import shift_asked
from xent_bench.data.batches import WHOLE
from xent_bench.data.groups import Groups
from xent_bench.process import garbage
from xent_bench.process.signals import Notice
from xent_bench.runs.begun import keep_reason, pause
from xent_bench.together.begun import Begun, closed, in_step
from xent_bench.together.building import SeedData
from xent_bench.together.group import AllEnded, Group
from xent_bench.together.learner import Learner
from xent_bench.together.members import Ended, Member
from xent_bench.together.saving import GroupCheckpointing, GroupCheckpointIO, GroupProgress
from xent_bench.together.seed_batches import EvaluationBatches, SeedBatches
from xent_bench.training.build import Built, build_classifier
from xent_bench.training.finish import finish
from xent_bench.training.fit import stops_by_name
from xent_bench.training.origin import code_of_parts
from xent_bench.training.records import Record, recorded
from xent_bench.training.run import Prepared, keeping_the_reason, prepared
from xent_bench.training.saving import Checkpointing
from xent_bench.training.trainer import build_trainer, use_threads
from xent_bench.training.user_code import naming_user_code


class OneTraining:
    """One training of members whose seeds have images of the same numbers."""

    def __init__(
        self,
        members: Mapping[int, Member],
        seeds: Mapping[int, SeedData],
        ended: Ended,
        notice: Notice,
    ) -> None:
        """`ended` is told how each member ended, when its folder is free again."""
        self.members, self.seeds, self.ended, self.notice = members, seeds, ended, notice
        self.start, self.runs = time.monotonic(), 1
        self.trained: float | None = None  # when the last run had trained

    def train(self) -> list[int]:
        """Hold the folders, train, and finish each run.

        Returns the numbers of members that had come less or further than most, and wait.
        """
        # in one order everywhere: else two groups with runs in common could wait for each other
        order = sorted(self.members, key=lambda number: run_folder(self.members[number].config))
        held = sorted(one for number in order for one in self._begun(number))
        begun, others = in_step(held)
        for one in others:
            one.contexts.close()
        if begun:
            self._train(begun)
        return [one.number for one in others]

    def _train(self, begun: Sequence[Begun]) -> None:
        config = begun[0].run.config
        folder, checkpoints = begun[0].run.folder, GroupCheckpointIO()
        name = f"{len(begun)} runs" if len(begun) > 1 else begun[0].run.begun.name
        trainer = build_trainer(
            config,
            GroupCheckpointing(folder, config.machine, self.notice),
            GroupProgress(name, folder, config.epochs, checkpoints),
            checkpoints=checkpoints,
        )
        learners = self._learners(begun, trainer)
        if learners:
            self.runs = len(learners)
            batches, val = self._batches(learners)
            group = checkpoints.group = Group(learners, batches.steps, self._let_go)
            self._fit(trainer, group, batches, val)

    def _batches(self, learners: list[Learner]) -> tuple[Groups[SeedBatches], EvaluationBatches]:
        """The batches of all seeds, in whose order the learners are put."""
        kinds = sorted({learner.run.parts.target for learner in learners})
        seeds = sorted({learner.run.config.seed for learner in learners})
        for learner in learners:
            learner.kind_place = kinds.index(learner.run.parts.target)
            learner.seed_place = seeds.index(learner.run.config.seed)
        learners.sort(key=lambda learner: learner.seed_place)
        columns = [self.seeds[seed].column(kinds) for seed in seeds]
        val = [self.seeds[seed].loaders(kinds[0]).val for seed in seeds]
        return Groups(SeedBatches(columns)), EvaluationBatches(val)

    def _fit(
        self, trainer: Trainer, group: Group, batches: Groups[SeedBatches], val: EvaluationBatches
    ) -> None:
        try:
            batches.taken = self._restore_all(group)
            garbage.resume()
            if group.learners:
                checkpoint = group.learners[0].run.checkpoint
                with suppress(AllEnded), stops_by_name():
                    trainer.fit(group, batches, val, ckpt_path=checkpoint)
            self.trained = time.monotonic()
            self._finish_all(group)
        except BaseException as error:
            remaining, group.learners = group.learners, []
            for learner in remaining:
                self._stop(learner, error)
            if not isinstance(error, Exception):
                raise

    def _restore_all(self, group: Group) -> int:
        """Let the runs go on from their checkpoints; returns the steps of the epoch in them.

        A run whose checkpoint cannot be used fails alone. One that `patience` had ended, and whose
        process was killed while it was evaluated, is evaluated now.
        """
        taken = 0
        for learner in list(group.learners):
            error: Exception | None = None
            try:
                taken = learner.restore()
            except Exception as foreign:
                error = foreign
            if error is not None or learner.stops:
                group.learners.remove(learner)
                self._let_go(learner, error)
        return taken

    def _finish_all(self, group: Group) -> None:
        """Finish the runs that have trained to the end; a signal ends the process between two."""
        for learner in list(group.learners):
            self.notice.heed()
            group.learners.remove(learner)
            self._let_go(learner, None)

    def _begun(self, number: int) -> Iterator[Begun]:
        """Hold the member's folder; nothing if it has ended by now, or is refused."""
        member, contexts = self.members[number], ExitStack()
        try:
            run = contexts.enter_context(
                prepared(member.config, member.command, pause_after(member.config))
            )
            if run is not None:
                contexts.enter_context(keeping_the_reason(run.config, run.folder))
                yield Begun(number, run, contexts)
                return
        except Exception as error:
            self._end(number, contexts, error)
        else:
            self._end(number, contexts, None)

    def _learners(self, begun: Sequence[Begun], trainer: Trainer) -> list[Learner]:
        learners = []
        code: dict[str, dict[str, str]] = {}  # hashes behind a target, once for all members
        for one in begun:
            config = one.run.config
            targets = {name: config[name]["_target_"] for name in GROUPS}
            naming = partial(naming_user_code, targets, one.run.folder)
            try:
                one.contexts.enter_context(naming())
                parts = code_of_parts(targets, code)
                built, flops = self._built(one.run, trainer, parts)
                use_threads(config, 3 * flops * config.batch_size)
                begun_run = one.run.begun
                begun_run.tags["together"] = _together(len(begun))
                record = one.contexts.enter_context(
                    recorded(
                        config,
                        built,
                        one.run.folder,
                        begun_run,
                        one.run.checkpoint,
                        self.notice,
                        self.start,
                    )
                )
                assert record is not None
                record.tags["together"] = begun_run.tags["together"]
                one.contexts.enter_context(naming())  # the record keeps an error by its name
                learners.append(self._learner(one, built, record, trainer))
            except (Exception, SystemExit) as error:  # whatever a loss of the user raises
                self._end(one.number, one.contexts, error)
        trainer.loggers = []
        return learners

    def _built(
        self, run: Prepared, trainer: Trainer, code: dict[str, dict[str, str]]
    ) -> tuple[Built, float]:
        seed = self.seeds[run.config.seed]
        seed.refuse_unfit(shift_asked(run.config))
        loaders = seed.loaders(run.parts.target)
        classifier, flops, line = build_classifier(
            run.config, run.parts, seed.data, seed.splits, loaders
        )
        checkpointing = Checkpointing(run.folder, run.config.machine, self.notice)
        return Built(
            trainer, classifier, loaders, seed.data, seed.splits, WHOLE, checkpointing, code, line
        ), flops

    def _learner(self, one: Begun, built: Built, record: Record, trainer: Trainer) -> Learner:
        classifier = built.classifier
        classifier.trainer = trainer
        classifier.to(trainer.strategy.root_device)
        schedule = one.run.parts.schedule
        is_ours = schedule.func.__module__.startswith("xent_bench.")
        return Learner(
            one.number,
            one.run,
            built,
            record,
            one.contexts,
            seed_place=0,
            kind_place=0,
            optimizer=classifier.configure_optimizers(),
            schedule=repr(schedule) if is_ours else None,
        )

    def _end(self, number: int, contexts: ExitStack, error: BaseException | None) -> None:
        """End a member's contexts with its error, if it has one, and tell of it."""
        self.ended(number, closed(contexts, error))

    def _let_go(self, learner: Learner, error: BaseException | None) -> None:
        """Evaluate a run that has ended, or note that it pauses; a failed one has an error."""
        if error is None:
            try:
                self._finish(learner)
            except (Exception, SystemExit) as late:  # a user's link may exit
                error = late
        self._stop(learner, error)

    def _stop(self, learner: Learner, error: BaseException | None) -> None:
        if error is None or isinstance(error, Exception | SystemExit):  # a user's loss may exit
            self._end(learner.number, learner.contexts, error)
        else:
            closed(learner.contexts, error)

    def _finish(self, learner: Learner) -> None:
        begun = time.monotonic()
        config, classifier = learner.run.config, learner.classifier
        epoch = pause_after(config)
        if epoch is not None and not learner.stops:
            keep_reason(learner.run.folder, pause(epoch, config.epochs))
            return
        classifier.use_best_epoch()
        calib, test = (learner.predict(split) for split in ("calib", "test"))
        # of the seconds in which all trained a run has its part; those of its scores are its own
        part = ((self.trained or begun) - self.start) / self.runs
        record = learner.record._replace(start=begun - part)
        finish(config, learner.built, learner.run.folder, record, calib, test)


def _together(runs: int) -> str:
    return f"{runs} runs" if runs > 1 else "as one of a group"
