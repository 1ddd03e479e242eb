"""The section above the comparisons of a page."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from xent_bench.tables import Table


class PrefaceChart(NamedTuple):
    """A chart of a preface as JSON, the same in words, and how it is read, if that is said here."""

    json: Markup
    words: str
    caption: str


class Preface(NamedTuple):
    """A section above the comparisons: a verdict, paragraphs, charts, tables and notes."""

    title: str  # of the page
    heading: str
    verdict: str
    paragraphs: Sequence[str]
    charts: Sequence[PrefaceChart]
    tables: Sequence[Table]
    warnings: Sequence[str]
    notes: Sequence[str]
