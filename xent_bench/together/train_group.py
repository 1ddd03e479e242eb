"""The training of a group of runs in one process; each ends as its own run."""

from collections.abc import Sequence

from xent_bench.config.configure import check_top_level
from xent_bench.config.identity import run_folder
from xent_bench.config.schema import Compile, pause_after
from xent_bench.process.signals import Notice
from xent_bench.runs.lacking import has_ended
from xent_bench.together.members import Ended, Member, NotTogether
from xent_bench.training.run import SAVING, completed, run

__all__ = ["Ended", "Member", "NotTogether", "train_group"]


def train_group(members: Sequence[Member], ended: Ended) -> None:
    """Train the members, and tell with its number how each ended: None, or its error.

    A member that is done is completed, one that was begun goes on. Raises NotTogether before
    anything is written where each should be trained alone, and KeyboardInterrupt or Preempted, once
    all are saved, where a signal says to end.
    """
    waiting: dict[int, Member] = {}
    for number, member in enumerate(members):
        try:
            check_top_level(member.config)
            if has_ended(run_folder(member.config), pause_after(member.config)):
                completed(member.config, run_folder(member.config), was_trained=False)
                ended(number, None)
            else:
                waiting[number] = member
        except Exception as error:
            ended(number, error)
    if waiting:
        _refuse_what_trains_alone(list(waiting.values()))
        from xent_bench.together.group_training import GroupTraining  # seconds of imports

        with Notice(SAVING) as notice:
            alone = GroupTraining(waiting, ended, notice).train()
        for number in alone:
            train_alone(number, members[number], ended)


def train_alone(number: int, member: Member, ended: Ended) -> None:
    """Train one member as a run that is typed alone."""
    try:
        run(member.config, member.command)
    except Exception as error:
        ended(number, error)
    else:
        ended(number, None)


def _refuse_what_trains_alone(members: Sequence[Member]) -> None:
    machine = members[0].config.machine
    if machine.devices > 1:
        raise NotTogether("several processes train each run")
    if machine.compile is not Compile.none:
        raise NotTogether("machine.compile makes a program of each net")
