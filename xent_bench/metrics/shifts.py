"""Names of the corruptions, severities and scores under shift, and of the keys made from them.

Nothing is imported here, so that whoever needs a name waits for nothing.
"""

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
