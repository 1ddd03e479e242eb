"""The losses in a few plain words, by what they are for: what a reader sees before any formula."""

from collections.abc import Mapping
from typing import NamedTuple


class Group(NamedTuple):
    """Losses for one purpose: its name, and a few words about each loss."""

    purpose: str
    losses: Mapping[str, str]


# The words tell what a loss was made for, not that it succeeds: that is for runs to show.
GROUPS = (
    Group(
        "Cross-entropy, the usual choice",
        {
            "sparse_ce": "cross-entropy where each image has one class: begin with it",
            "ce": "cross-entropy where a label may be shares of classes (soft labels)",
            "kl": "ce minus the entropy of the label: its gradients are those of ce",
            "poly1": "cross-entropy plus the probability that the wrong classes have",
            "squentropy": "cross-entropy plus the squared outputs of the wrong classes",
        },
    ),
    Group(
        "Against probabilities that are too high",
        {
            "label_smoothing": "a tenth of each label is shared among all classes",
            "margin_smoothing": "outputs that lie far below the largest one cost extra",
            "confidence_penalty": "probabilities that leave no doubt cost extra",
            "logit_penalty": "large outputs cost extra",
            "logit_norm": "only the direction of the outputs counts, not how large they are",
            "focal": "images that the net has right already count less",
            "dual_focal": "focal that also looks at the class next below the true one",
            "flsd53": "focal with a stronger focus on images that the net has badly wrong",
        },
    ),
    Group(
        "For classes of which some are rare",
        {
            "weighted_ce": "images of rare classes count more",
            "balanced_softmax": "learns probabilities for a test set with equally frequent classes",
            "logit_adjustment": "balanced_softmax in a strength that can be set, tau",
            "ldam": "the rarer the true class, the further its output has to lead",
        },
    ),
    Group(
        "For training labels of which some are wrong",
        {
            "mae": "distance of the probabilities to the label: 2 at most, and slow to train",
            "gce": "between cross-entropy and mae, as its q says",
            "taylor_ce": "between mae and cross-entropy, as its number of terms t says",
            "sce": "cross-entropy plus the same with label and prediction exchanged",
            "nce": "cross-entropy divided by its sum over all labels",
            "nce_mae": "nce plus mae",
            "nce_rce": "nce plus cross-entropy with label and prediction exchanged",
            "bootstrap_soft": "the label is mixed with the net's own prediction",
        },
    ),
    Group(
        "Squared error and other distances to the label",
        {
            "brier": "squared distance of the probabilities to the label",
            "mse": "brier divided by the number of classes",
            "square": "squared distance of the raw outputs to the label",
            "huber": "square near the label, and straight lines far from it",
            "log_cosh": "nearly huber, in one smooth formula",
            "quantile": "absolute distance; outputs too low may cost more than outputs too high",
        },
    ),
    Group(
        "A yes or no for each class by itself",
        {
            "bce": "cross-entropy of each class against the rest, added up",
            "sigmoid_focal": "bce in which what the net has right already counts less",
        },
    ),
    Group(
        "Margins: the true class has to lead; no probabilities before a temperature is fitted",
        {
            "hinge": "the true class has to lead all others by a margin",
            "squared_hinge": "the square of hinge, which has no kink",
            "weston_watkins": "hinge, added up over all wrong classes",
            "categorical_hinge": "hinge as Keras has it",
            "ovr_hinge": "a hinge for each class against the rest, added up",
            "ovr_squared_hinge": "the squares of these: they find the likeliest class in any case",
        },
    ),
)


def groups_with(others: Mapping[str, str]) -> list[Group]:
    """The groups, and a last one of `others`: formulas of losses by name, if there are any."""
    return [*GROUPS, *([Group("Others", others)] if others else [])]


def described() -> set[str]:
    """Names of the losses that a group describes."""
    return {name for group in GROUPS for name in group.losses}
