"""A run, from its config to its result: idempotent, so that a command can be typed again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock, Timeout
from omegaconf import DictConfig

from xent_bench.config.annotations import annotation_tags
from xent_bench.config.configure import check_top_level
from xent_bench.config.design_keys import design_tag
from xent_bench.config.first_weights import FirstWeights
from xent_bench.config.identity import run_folder, run_key, run_name, science
from xent_bench.config.schema import pause_after, typed_tags
from xent_bench.config.shift_asked import refuse_other_images, shift_asked
from xent_bench.evaluation.rescore import rescore
from xent_bench.failures import DataError, Unavailable, named, reason
from xent_bench.process.signals import Notice
from xent_bench.process.sockets import give_sockets_room
from xent_bench.runs.begun import Unfinished, keep_reason, load_begun, pause, save_begun
from xent_bench.runs.files import LOCK, RESULT, has_result, is_pending, set_pending
from xent_bench.runs.lacking import Asked, Lack, has_ended, lacking
from xent_bench.runs.outcome import outcome
from xent_bench.runs.refusal import leaving_nothing, missing_folders
from xent_bench.runs.result import load_run
from xent_bench.tracking.reach import tracking_uri
from xent_bench.tracking.send import send, send_if_pending

if TYPE_CHECKING:
    from xent_bench.config.parts import Parts

SAVING = "\nSaved after this step; Ctrl-C again ends it at once.\n"
LOCK_SECONDS = 1.0  # to wait in silence: a reader may hold the lock for a moment


def run(
    config: DictConfig, command: str = "", before_imports: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Train what the config says and return its result; if that was done before, return it.

    A run that was begun goes on from its checkpoint; one that pauses returns its `outcome`.
    `command` is what its description in MLflow tells a reader to type; `before_imports` is called
    if PyTorch is to be imported, before it is.
    """
    check_top_level(config)
    folder, epoch = run_folder(config), pause_after(config)
    was_trained = False
    if not has_ended(folder, epoch):
        before_imports()
        was_trained = _train(config, folder, command, epoch)
    return completed(config, folder, was_trained=was_trained)


def completed(config: DictConfig, folder: Path, *, was_trained: bool) -> dict[str, Any]:
    """Add what the folder of a run that has ended lacks, and return the run's outcome."""
    machine = config.machine
    # a run that has just been trained has sent itself to MLflow, or said why it could not
    offline = machine.offline or was_trained
    if has_result(folder):
        _complete(folder, config, offline=offline)
    elif is_pending(folder) and not offline:
        send_if_pending(folder, machine.tracking)
    return outcome(folder)


class Prepared(NamedTuple):
    """A run that is to be trained now: this process holds its folder."""

    config: DictConfig
    parts: "Parts"
    folder: Path
    begun: Unfinished
    checkpoint: Path | None  # that it goes on from


def _train(config: DictConfig, folder: Path, command: str, epoch: int | None) -> bool:
    """Train until the run ends, or pauses after `epoch`; False if nothing is left to train."""
    from xent_bench.process.ranks import run_in_ranks  # seconds of imports
    from xent_bench.training.fit import fit, fit_with_others

    with prepared(config, command, epoch) as run:
        if run is None:
            return False
        with (
            Notice(SAVING) as notice,
            keeping_the_reason(run.config, folder),
        ):
            ranks = config.machine.devices
            if ranks == 1:
                fit(*run, notice)
            else:
                arguments = (run.config, folder, run.begun, run.checkpoint)
                run_in_ranks(fit_with_others, *arguments, ranks=ranks, notice=notice)
    return True


@contextmanager
def prepared(config: DictConfig, command: str, epoch: int | None) -> Iterator[Prepared | None]:
    """A context in which a run is trained until it ends, or pauses after `epoch`.

    Its folder is made and held; a command that is refused leaves nothing there. None if there is
    nothing left to train.
    """
    from xent_bench.config.parts import resolve, settled  # seconds of imports
    from xent_bench.pretrained.images import as_weights_want
    from xent_bench.training.checkpoint_files import newest_checkpoint

    give_sockets_room()  # of decoding workers, and of processes that train together
    folder = run_folder(config)
    parts = resolve(config)
    config = settled(config, parts)
    new_folders = missing_folders(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder), leaving_nothing(folder, new_folders):
        if has_ended(folder, epoch) or _has_come_to(epoch, folder, config.epochs):
            yield None
            return
        begun = _begin(config, folder, command, parts.weights)
        config, parts = as_weights_want(config, parts)  # not part of the key
        yield Prepared(config, parts, folder, begun, newest_checkpoint(folder))


def _has_come_to(epoch: int | None, folder: Path, epochs: int) -> bool:
    """Whether a run that was stopped had trained `epoch` epochs; from now on it is paused.

    The caller holds the folder's lock.
    """
    from xent_bench.training.checkpoint_files import epochs_in, newest_checkpoint

    if epoch is None:
        return False
    try:
        load_begun(folder)
    except DataError:  # it is to be written again
        return False
    checkpoint = newest_checkpoint(folder)
    trained = 0 if checkpoint is None else epochs_in(checkpoint)
    if trained < epoch:
        return False
    set_pending(folder)
    keep_reason(folder, pause(trained, epochs))
    return True


def _complete(folder: Path, config: DictConfig, *, offline: bool) -> None:
    """Add what the folder lacks of a run that was finished when less was asked of it."""
    further = shift_asked(config)
    asked = Asked(
        *(config.calibrator.name, config.machine.save_weights, offline),
        shift=further.conditions,
        foreign=tuple(further.foreign),
        model=config.machine.log_model,
        pictures=config.machine.pictures,
    )
    refuse_other_images(further, load_run(folder / RESULT).tags)
    lacks = lacking(folder, asked)
    if lacks & (Lack.SHIFT | Lack.FOREIGN):
        from xent_bench.shift.keep import keep_outputs  # PyTorch takes seconds

        machine = config.machine
        keep_outputs(folder, further, machine.cache, machine.jobs * machine.devices)
    if lacks & (Lack.CALIBRATOR | Lack.SHIFT | Lack.FOREIGN | Lack.PICTURES):
        _declare_link(config)
        rescored = rescore(
            folder,
            [asked.calibrator],
            pictures=Lack.PICTURES in lacks,
            offline=config.machine.offline,
        )
        if rescored.changed:
            raise DataError(f"the result in {folder} does not follow from its predictions")
    _add_files(folder, lacks)
    if Lack.UPLOAD in lacking(folder, asked):  # also of what has just been added
        send_if_pending(folder, config.machine.tracking)


def _add_files(folder: Path, lacks: Lack) -> None:
    """Write the files that the folder lacks of its net, and mark it: MLflow lacks them too."""
    if lacks & (Lack.WEIGHTS | Lack.MODEL):
        set_pending(folder)
    if Lack.WEIGHTS in lacks:
        from xent_bench.trained_net.weights import save_weights  # PyTorch takes seconds

        save_weights(folder)
    if Lack.MODEL in lacks:
        from xent_bench.export.mlflow_model import keep_model  # likewise

        keep_model(folder)


def _declare_link(config: DictConfig) -> None:
    """Import a loss of the user's own, so that its link is known and may read predictions."""
    if not config.loss["_target_"].startswith("xent_bench."):
        from xent_bench.config.configure import configured  # PyTorch takes seconds

        configured(config, "loss")


def _begin(
    config: DictConfig, folder: Path, command: str, weights: FirstWeights | None
) -> Unfinished:
    tags = {"key": run_key(config), "command": command}
    tags |= annotation_tags(config.notes, typed_tags(config)) | design_tag(config)
    if weights is not None:
        tags |= {"pretrained": weights.typed, "pretrained_sha256": weights.sha256}
    begun = Unfinished(run_name(config), config.name, science(config), command, tags=tags)
    save_begun(begun, folder)
    return begun


@contextmanager
def keeping_the_reason(config: DictConfig, folder: Path) -> Iterator[None]:
    """Write in the run's folder why its training failed, where it does."""
    try:
        yield
    except BaseException as error:
        by_name = named(error)
        with suppress(OSError, ValueError):  # the first error is the one that the user must see
            keep_reason(folder, reason(error))
            _end_in_mlflow(config, folder)
        if by_name is error:
            raise
        raise by_name from error


def _end_in_mlflow(config: DictConfig, folder: Path) -> None:
    """Send the reason of a run whose writing process, one of several, may have been killed."""
    if config.machine.devices > 1 and is_pending(folder) and not config.machine.offline:
        with suppress(Unavailable, ValueError):
            send(folder, tracking_uri(config.machine.tracking))


def _held(folder: Path) -> Any:
    """Take the folder's lock: of the same command in two windows one trains, the other waits."""
    lock = FileLock(folder / LOCK)
    patience = LOCK_SECONDS
    while True:
        try:
            held = lock.acquire(timeout=patience)
            if (folder / LOCK).exists():
                return held
            lock.release()
        except Timeout:
            print(f"{folder}: another process trains it; waiting for its end", flush=True)
            patience = -1  # filelock waits for ever
            continue
        except FileNotFoundError:
            pass
        # the other process was refused, and has deleted the folder
        folder.mkdir(parents=True, exist_ok=True)
