"""Picture of a published claim: the difference that each of its parts rests on, twice."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple, TypeAlias

import plotly.graph_objects as go

from xent_bench.claims.judge import TITLES, Judgement, Tested
from xent_bench.claims.schema import Part, Protocol
from xent_bench.comparison.yardsticks import Yardstick
from xent_bench.report.charts.intervals import add_interval, add_tie
from xent_bench.report.charts.style import GREY, Colours, axis, in_panels, panel
from xent_bench.report.claim_words import difference_shown, pairs
from xent_bench.tables import joined

ROW = 40  # px
SYMBOLS: dict[Protocol, str] = {"published": "diamond", "fair": "circle"}
NOT_JUDGED = "x"
SIGNS = {"shown": "✓", "refuted": "✗", "open": "?"}  # as the verdicts of the page
BELOW = 58  # px for the numbers and the name of the x axis

Row: TypeAlias = tuple[Protocol, Tested]


class Picture(NamedTuple):
    """A chart of a claim, and the same in words, without a full stop at their end."""

    figure: go.Figure
    words: str


def claim_pictures(judgement: Judgement, seeds: int, colours: Colours) -> list[Picture]:
    """Draw the difference of each part under both protocols, a chart for each unit.

    Parts in one unit have one scale. `seeds` is the number of pairs that a part should have.
    """
    pictures = []
    for unit, panels in _by_unit(judgement).items():
        figure = go.Figure()
        for place, rows in enumerate(panels):
            _draw_part(figure, place, rows, seeds, colours)
        for place in range(len(panels)):
            figure.layout[axis(place, "x")] = {
                "range": _range([row for rows in panels for row in rows]),
                "matches": "x" if place else None,
                "nticks": 4,
                "tickangle": 0,
                "zeroline": False,
            }
        figure.layout[axis(len(panels) - 1, "x")].title = {"text": f"difference, {unit}"}
        titles = [_title(rows) for rows in panels]
        in_panels(
            figure,
            titles,
            ROW * max(map(len, panels)) + 8,
            stack=len(panels),
            below=BELOW,
            is_titled_across=True,
        )
        words = [_in_words(rows, seeds) for rows in panels]
        pictures.append(Picture(figure, f"difference, {unit}. {' '.join(words)}".rstrip(".")))
    return pictures


def _by_unit(judgement: Judgement) -> Mapping[str, Sequence[Sequence[Row]]]:
    """The rows of each panel by the unit of its axis.

    A panel holds a part, whose two metrics are in one unit and better in one direction, as a rule;
    otherwise the protocols have a panel each.
    """
    panels: dict[str, dict[tuple[int, int], list[Row]]] = {}
    for judged in judgement.protocols:
        for place, tested in enumerate(judged.parts):
            by = tested.yardstick
            of_unit = panels.setdefault(by.unit.strip() or by.above, {})
            of_unit.setdefault((place, by.better), []).append((judged.protocol, tested))
    return {unit: [rows for _, rows in sorted(of_unit.items())] for unit, of_unit in panels.items()}


def _draw_part(
    figure: go.Figure, place: int, rows: Sequence[Row], seeds: int, colours: Colours
) -> None:
    """Draw a row for each protocol, the first one on top."""
    axes = panel(place)
    levels = range(len(rows))[::-1]
    for level, (protocol, tested) in zip(levels, rows, strict=True):
        delta, by = tested.difference, tested.yardstick
        if delta is None or not isfinite(delta.mean):
            continue
        is_judged = tested.verdict != "not judged"
        half = delta.half_width or 0.0
        add_interval(
            figure,
            axes,
            (by.scale * delta.mean, level),
            by.scale * half if isfinite(half) else 0.0,
            colour=colours.get(tested.part.arm, GREY) if is_judged else GREY,
            hover=f"{TITLES[protocol]}, {by.name}: {difference_shown(tested)}{by.unit}"
            f"<br>{tested.verdict}: {tested.outcome}",
            symbol=SYMBOLS[protocol] if is_judged else NOT_JUDGED,
        )
    _, first = rows[0]
    by = first.yardstick
    margin = None if first.part.margin is None else by.scale * by.tie
    span = add_tie(figure, axes, len(rows), margin)
    figure.layout[axis(place, "y")] = {
        "tickvals": list(levels),
        "ticktext": [
            f"{TITLES[protocol]}: <b>{SIGNS[tested.outcome]} {tested.outcome}</b>"
            f"<br>{_measured(tested, seeds)}"
            for protocol, tested in rows
        ],
        "range": span,
        "zeroline": False,
    }


def _range(rows: Sequence[Row]) -> list[float]:
    """The ends of the x axis: all intervals and margins, no difference, and some room beside."""
    ends = [0.0]
    for _, tested in rows:
        by, delta = tested.yardstick, tested.difference
        reach = by.scale * by.tie  # without a margin, so that an axis has a length
        ends += [-reach, reach]
        if delta is not None and isfinite(delta.mean):
            half = delta.half_width or 0.0
            half = half if isfinite(half) else 0.0
            ends += [by.scale * (delta.mean - half), by.scale * (delta.mean + half)]
    room = 0.06 * (max(ends) - min(ends))
    return [min(ends) - room, max(ends) + room]


def _measured(tested: Tested, seeds: int) -> str:
    """The measured difference with its unit, as the table has it, or why there is none."""
    if tested.verdict == "not judged":
        return f"not judged, {pairs(tested)} of {seeds} pairs"
    if tested.verdict == "same" or tested.part.expect == "same":
        return f"same weights, {tested.equal_pairs} of {seeds}"
    return f"{difference_shown(tested)}{tested.yardstick.unit}"


def _title(rows: Sequence[Row]) -> str:
    """The arms of a part, its metrics and what was expected: 'a against b by top-1; ...'."""
    _, first = rows[0]
    part = first.part
    names = list(dict.fromkeys(tested.yardstick.name for _, tested in rows))
    metric = names[0].partition(" as trained")[0]
    shown = [names[0], *(name.removeprefix(f"{metric} ") for name in names[1:])]
    return (
        f"{part.arm} against {part.against} by {joined(shown)}; expected: "
        f"{_expected(part, first.yardstick)}"
    )


def _expected(part: Part, by: Yardstick) -> str:
    """The expected direction in words: 'better, to the right'."""
    if part.expect == "same":
        return "the same weights, bit for bit, so no difference"
    improvement, loss = ("right", "left") if by.better > 0 else ("left", "right")
    if part.expect == "as_good":
        return f"as good, not beyond the shade to the {loss}"
    return f"{part.expect}, to the {improvement if part.expect == 'better' else loss}"


def _in_words(rows: Sequence[Row], seeds: int) -> str:
    """One panel as a sentence, for who cannot see it."""
    of_protocols = [
        f"{TITLES[protocol]} {_measured(tested, seeds)}, {tested.outcome}"
        for protocol, tested in rows
    ]
    _, first = rows[0]
    margin = "" if first.part.margin is None else f", margin {first.yardstick.margin()}"
    return f"{_title(rows)}{margin}: {'; '.join(of_protocols)}."
