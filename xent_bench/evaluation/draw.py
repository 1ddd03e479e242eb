"""The pictures of a run, from its evaluation to files."""

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
from xent_bench.runs.whole_files import write_whole

MOST = 20  # confusions


def draw_pictures(
    evaluation: Evaluation, classes: Sequence[str], params: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Write them into the folder; `params` are the run's flat config keys."""
    read = evaluation.readings
    title, colour = _title(params, len(read["test"].target)), pictures.colour_of(params["loss"])
    diagrams = {
        _calibration(evaluation, prefix): examples.probabilistic and reliability(examples.ranked)
        for prefix, examples in read.items()
    }
    curves = {_ranking(evaluation, prefix): risks(read[prefix].ranked) for prefix in read}
    matrix = confusion_matrix(read["test"], len(classes))
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
            drawn = BytesIO()
            figure.savefig(drawn, format="png")
            # not flushed, which takes longer than all else here: xent-rescore draws them again
            write_whole(files[-1], drawn.getbuffer())
    return files


def _title(params: Mapping[str, Any], n: int) -> str:
    """Loss with its hyper-parameters, data, model, seed and n."""
    hyper = [f"{k.removeprefix('loss.')} {v}" for k, v in params.items() if k.startswith("loss.")]
    loss = f"{params['loss']} ({', '.join(hyper)})" if hyper else params["loss"]
    where = f"{params['data']}, {params['model']}, seed {params['seed']}"
    return f"{loss} on {where}; n = {n:,} test images"


def _calibration(evaluation: Evaluation, prefix: str) -> str:
    """A panel's two lines: the verdict, and the numbers it is read from, in per cent."""
    if evaluation.readings[prefix].probabilistic is None:
        return f"{TITLES[prefix]}\n"
    keys = ("/ece", "_null/ece_high", "/overconfidence")
    found, most, gap = (100 * evaluation.metrics[f"{prefix}{key}"] for key in keys)
    low, high = (
        100 * evaluation.metrics[f"{prefix}_null/overconfidence_{end}"] for end in ("low", "high")
    )
    return (
        f"{TITLES[prefix]}: {evaluation.words[f'{prefix}_verdict']}\n"
        f"ECE {found:.1f} % (chance: to {most:.1f}), gap {gap:.1f} % ({low:.1f} to {high:.1f})"
    )


def _ranking(evaluation: Evaluation, prefix: str) -> str:
    return f"{TITLES[prefix]}: AURC {100 * evaluation.metrics[f'{prefix}/aurc']:.2f} %"
