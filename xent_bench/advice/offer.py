"""The parts that can be typed, and which of them are worth a try for which needs."""

from collections.abc import Sequence
from typing import NamedTuple

from xent_bench.advice.needs import Needs
from xent_bench.advice.tasks import NEAR_RATIO, Task, nets_of
from xent_bench.advice.typed import typed

# losses of conf/loss to try beside the baseline, in this order; the page of each loss says why
BY_NEED = {
    "accuracy": ("label_smoothing", "mse", "hinge", "poly1"),
    "probabilities": ("brier", "focal", "label_smoothing", "mse"),
    "ranking": ("label_smoothing", "mse", "bce", "hinge"),
    "abstention": ("label_smoothing", "brier", "focal", "logit_norm"),
}
WRONG_LABELS = ("gce", "sce", "nce_rce", "taylor_ce")
RARE_CLASSES = ("balanced_softmax", "logit_adjustment", "weighted_ce", "ldam")
MOST = 4  # losses that are offered for one sweep
WITH_ROOT = {  # data that the user has, with a word for it
    **dict.fromkeys(("image_folder", "imagenet"), "FOLDER"),
    **dict.fromkeys(("table", "features", "huggingface"), "FILE"),
}
LONG_TAIL_DATA = "fashion_mnist"  # digits has some 100 images a class, too few for a long tail


class Experiment(NamedTuple):
    """A sweep that conf/experiment keeps: its command, and what it says of its size and cost."""

    name: str
    command: str
    about: str
    runs: int


class Offer(NamedTuple):
    """The choices of conf/loss, conf/data and conf/model, and the experiments, by name."""

    losses: Sequence[str]
    data: Sequence[str]
    models: Sequence[str]
    experiments: dict[str, Experiment]


def candidates(needs: Needs) -> list[str]:
    """Losses worth a try for these needs beside the baseline, which is not among them."""
    if needs.noise and needs.is_uneven:
        names = [*WRONG_LABELS[:2], *RARE_CLASSES[:2]]
    elif needs.noise:
        names = [*WRONG_LABELS]
    else:
        names = [*(RARE_CLASSES if needs.is_uneven else BY_NEED[needs.need])]
    return [name for name in names if name != needs.baseline][:MOST]


def experiment_for(needs: Needs, offer: Offer) -> Experiment | None:
    """The experiment of conf/experiment that answers for needs like these, if there is one.

    None if it has more runs than the budget allows.
    """
    experiment = offer.experiments.get(_name_of_experiment(needs))
    too_large = experiment and needs.budget is not None and experiment.runs > needs.budget
    return None if too_large else experiment


def _name_of_experiment(needs: Needs) -> str:
    """Name of that experiment; empty if no experiment has these conditions."""
    by_data = {"features": "heads", "imagenet": "imagenet_losses"}
    by_data |= dict.fromkeys(("cifar10", "cifar10h"), "cifar10_losses")
    conditions = [bool(needs.noise), needs.is_uneven, needs.shift]
    if sum(conditions) > 1:
        return ""
    if needs.noise:
        return "fashion_mnist_noise" if needs.noise_kind in (None, "symmetric") else ""
    if needs.is_uneven:
        is_near = 100 / NEAR_RATIO <= needs.imbalance <= 100 * NEAR_RATIO
        return "fashion_mnist_long_tail" if is_near else ""
    if needs.shift:
        return "fashion_mnist_shift"
    return by_data.get(str(needs.data), "fashion_mnist_tuned" if needs.can_tune else "quickstart")


def setting_words(needs: Needs, tasks: Sequence[Task]) -> list[str]:
    """The overrides of the data and the net that the user has, as runs were typed with them."""
    data, model = needs.data, needs.model
    words = []
    if data is not None:
        like = [task for task in tasks if task.first.params["data"] == data]
        root = [f"data.root={WITH_ROOT[data]}"] if data in WITH_ROOT else []
        words += _words_of("data", like) or [f"data={data}", *root]
    elif needs.is_uneven:
        words.append(f"data={LONG_TAIL_DATA}")
    if model is not None:
        like = [task for task in tasks if model in nets_of(task.first)]
        words += _words_of("model", like) or [f"model={model}"]
    return words


def _words_of(group: str, tasks: Sequence[Task]) -> list[str]:
    """The overrides of a group in the command of the first of these tasks."""
    command = typed(tasks[0].first) if tasks else None
    words = command.words if command else []
    return [word for word in words if word.partition("=")[0].partition(".")[0] == group]
