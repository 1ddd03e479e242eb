"""Names of the corruptions, severities and scores under shift, and of the keys made from them.

Nothing heavy is imported here, so that whoever needs a name waits for nothing.
"""

from collections.abc import Mapping

# Hendrycks and Dietterich, 2019, arXiv:1903.12261, in the order of their tables: noise, blur,
# weather, digital. Means over corruptions are over these fifteen.
FIFTEEN = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
FOUR = ("speckle_noise", "gaussian_blur", "spatter", "saturate")  # their extra ones
SEVERITIES = (1, 2, 3, 4, 5)
ALL = "all"  # stands for the fifteen

COMPUTED, PUBLISHED = "computed", "published"  # where corrupted images are from

SHIFT, SHIFT_TS, FOREIGN, MEAN = "shift", "shift_ts", "foreign", "mean"
AS_TRAINED = ("top1", "nll", "brier", "ece", "aurc")  # scores under SHIFT, as far as they exist
SCALED = ("nll", "brier", "ece")  # under SHIFT_TS; a temperature changes no answer
SCORES = {SHIFT: AS_TRAINED, SHIFT_TS: SCALED}

# numbers by which the outputs tell test's images from foreign ones, as far as the loss has them
CERTAINTIES = ("confidence", "margin", "entropy", "energy", "output")
# AUROC is the same whichever images are positive; the others name those that are
DETECTION = ("auroc", "aupr_test", "aupr_foreign", "fpr95_test")


def condition(name: str, severity: int) -> str:
    """A corruption at a severity, as it stands in keys: 'fog/3'."""
    return f"{name}/{severity}"


def is_of_shift(key: str) -> bool:
    """Whether a metric's key is one of a shift or of foreign images."""
    return key.partition("/")[0] in (SHIFT, SHIFT_TS, FOREIGN)


def on_other_images(metrics: Mapping[str, float]) -> list[str]:
    """Sentences about a run's scores under shift and on foreign images, as far as it has them."""
    return [*_under_shift(metrics), *_on_foreign(metrics)]


def _under_shift(metrics: Mapping[str, float]) -> list[str]:
    """The means over all fifteen corruptions at all severities; else over those that there are."""
    keys = {
        "top-1": (SHIFT, "top1"),
        "ECE as trained": (SHIFT, "ece"),
        "ECE after temperature scaling": (SHIFT_TS, "ece"),
    }
    is_whole = f"{SHIFT}/{MEAN}/top1" in metrics
    means, conditions = {}, 0
    for name, (prefix, score) in keys.items():
        values = [
            value
            for key, value in metrics.items()
            if key.startswith(f"{prefix}/") and key.endswith(f"/{score}") and f"/{MEAN}/" not in key
        ]
        if is_whole:
            values = [metrics[key] for key in [f"{prefix}/{MEAN}/{score}"] if key in metrics]
        if values:
            means[name] = sum(values) / len(values)
            conditions = conditions or len(values)
    if not means:
        return []
    over = "15 corruptions at 5 severities"
    if not is_whole:
        over = f"{conditions} pair{'s' * (conditions > 1)} of a corruption and a severity"
    scores = [f"{name} {100 * value:.2f} %" for name, value in means.items()]
    return [f"Mean over {over}: {', '.join(scores)}."]


def _on_foreign(metrics: Mapping[str, float]) -> list[str]:
    """The AUROC by confidence of each foreign set; by the margin, where there is no confidence."""
    for certainty in ("confidence", "margin"):
        suffix = f"/auroc_{certainty}"
        of_sets = {
            key.split("/")[1]: value
            for key, value in metrics.items()
            if key.startswith(f"{FOREIGN}/") and key.endswith(suffix)
        }
        if of_sets:
            aurocs = [f"{name} {100 * value:.2f} %" for name, value in of_sets.items()]
            return [f"AUROC by {certainty} against foreign images: {', '.join(aurocs)}."]
    return []
