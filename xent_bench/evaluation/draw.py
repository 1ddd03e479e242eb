"""Draw the pictures of a run from its evaluation, and write them to files."""

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from xent_bench.evaluation import pictures
from xent_bench.evaluation.evaluate import Evaluation
from xent_bench.metrics.ranking import risks
from xent_bench.metrics.reliability import confusion_matrix, reliability, top_confusions
from xent_bench.metrics.reported import TITLES
from xent_bench.palette import colour_of
from xent_bench.runs.whole_files import write_whole

MOST = 20  # confusions in a picture


def draw_pictures(
    evaluation: Evaluation, classes: Sequence[str], params: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Write the pictures of a run into a folder; `params` are the flat keys of its config.

    Returns the paths of the files.
    """
    readings = evaluation.readings
    title = _title(params, len(readings["test"].target))
    colour = colour_of(params["loss"])
    diagrams = {
        _calibration(evaluation, prefix): examples.probabilistic and reliability(examples.ranked)
        for prefix, examples in readings.items()
    }
    curves = {_ranking(evaluation, prefix): risks(readings[prefix].ranked) for prefix in readings}
    matrix = confusion_matrix(readings["test"], len(classes))
    figures = {
        "reliability": pictures.reliability_diagram(title, diagrams, colour),
        "risk_coverage": pictures.risk_coverage(title, curves, colour),
        "confusions": pictures.confusions(title, matrix, top_confusions(matrix, MOST), classes),
    }
    folder.mkdir(exist_ok=True)
    files = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that the font lacks becomes a box
        for name, figure in figures.items():
            files.append(folder / f"{name}.png")
            png = BytesIO()
            figure.savefig(png, format="png")
            # not flushed to disk, which would take most of the time: xent-rescore can redraw them
            write_whole(files[-1], png.getbuffer())
    return files


def _title(params: Mapping[str, Any], n: int) -> str:
    """Title with the loss, its hyper-parameters, data, model, seed and number of test images."""
    hyper = [f"{k.removeprefix('loss.')} {v}" for k, v in params.items() if k.startswith("loss.")]
    loss = f"{params['loss']} ({', '.join(hyper)})" if hyper else params["loss"]
    where = f"{params['data']}, {params['model']}, seed {params['seed']}"
    return f"{loss} on {where}; n = {n:,} test images"


def _calibration(evaluation: Evaluation, prefix: str) -> str:
    """Two lines above a reliability diagram: the verdict, and the numbers behind it in per cent."""
    if evaluation.readings[prefix].probabilistic is None:
        return f"{TITLES[prefix]}\n"
    keys = ("/ece", "_null/ece_high", "/overconfidence")
    error, most, gap = (100 * evaluation.metrics[f"{prefix}{key}"] for key in keys)
    low, high = (
        100 * evaluation.metrics[f"{prefix}_null/overconfidence_{end}"] for end in ("low", "high")
    )
    return (
        f"{TITLES[prefix]}: {evaluation.words[f'{prefix}_verdict']}\n"
        f"ECE {error:.1f} % (chance: to {most:.1f}), gap {gap:.1f} % ({low:.1f} to {high:.1f})"
    )


def _ranking(evaluation: Evaluation, prefix: str) -> str:
    return f"{TITLES[prefix]}: AURC {100 * evaluation.metrics[f'{prefix}/aurc']:.2f} %"
