"""Draw the pictures of a run from its evaluation, and write them to files."""

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from xent_bench.evaluation.evaluate import Evaluation
from xent_bench.evaluation.frames import Frame
from xent_bench.evaluation.pictures import (
    MOST_CLASSES,
    confusions_frame,
    matrix_frame,
    reliability_frame,
    risk_frame,
)
from xent_bench.metrics.ranking import risks
from xent_bench.metrics.reliability import (
    Matrix,
    confusion_matrix,
    reliability,
    top_confusions,
)
from xent_bench.metrics.reported import TITLES
from xent_bench.palette import colour_of
from xent_bench.runs.whole_files import write_whole

MOST = 20  # confusions in a picture
GLYPH = "Glyph"  # begins Matplotlib's warning of a letter that the font lacks: it becomes a box


class Drawing(NamedTuple):
    """A picture that is to be drawn: its kind, and what the frame and the data of it say."""

    kind: Callable[..., Frame]
    layout: tuple[Hashable, ...]
    content: tuple[Any, ...]

    def png(self) -> bytes:
        """Draw the picture in the frame that earlier runs have left."""
        try:
            return _frame(self.kind, *self.layout).png(*self.content)
        except BaseException:
            _frame.cache_clear()  # a frame may hold a part of the data
            raise

    def figure(self) -> Figure:
        """Draw the picture as a figure by itself, with the same pixels."""
        return self.kind(*self.layout).filled(*self.content)


@lru_cache(maxsize=8)
def _frame(kind: Callable[..., Frame], *layout: Hashable) -> Frame:
    """The frame of a layout, which is the same for all runs of an experiment."""
    return kind(*layout)


def draw_pictures(
    evaluation: Evaluation, classes: Sequence[str], params: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Write the pictures of a run into a folder; `params` are the flat keys of its config.

    Returns the paths of the files.
    """
    folder.mkdir(exist_ok=True)
    files = []
    for name, drawing in drawings(evaluation, classes, params).items():
        files.append(folder / f"{name}.png")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", GLYPH)
            png = drawing.png()
        # not flushed to disk, which would take most of the time: xent-rescore can redraw them
        write_whole(files[-1], png)
    return files


def drawings(
    evaluation: Evaluation, classes: Sequence[str], params: Mapping[str, Any]
) -> dict[str, Drawing]:
    """The pictures of a run, by their names."""
    readings, bins = evaluation.readings, evaluation.bins
    title = _title(params, len(readings["test"].target))
    colour = colour_of(params["loss"])
    diagrams = {
        _calibration(evaluation, prefix): reliability(examples.ranked, bins[prefix])
        if prefix in bins
        else None
        for prefix, examples in readings.items()
    }
    curves = {_ranking(evaluation, prefix): risks(readings[prefix].ranked) for prefix in readings}
    matrix = confusion_matrix(readings["test"], len(classes))
    return {
        "reliability": Drawing(reliability_frame, (len(diagrams),), (title, diagrams, colour)),
        "risk_coverage": Drawing(risk_frame, (), (title, curves, colour)),
        "confusions": _confusions(title, matrix, tuple(classes)),
    }


def _confusions(title: str, matrix: Matrix, classes: tuple[str, ...]) -> Drawing:
    """The whole matrix if there are few classes, else the most frequent confusions."""
    if len(classes) <= MOST_CLASSES:
        return Drawing(matrix_frame, (classes,), (title, matrix))
    top = top_confusions(matrix, MOST)
    return Drawing(confusions_frame, (len(top),), (title, top, classes))


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
