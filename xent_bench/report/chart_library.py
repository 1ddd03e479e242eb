"""The JavaScript that draws the charts of a page: the basic part of plotly.js, in the package."""

from importlib import resources

VERSION = "4.1.1"  # that of the installed plotly.py; scripts/renew-plotly writes both lines
SHA256 = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
FILE = "plotly/plotly-basic.min.js"  # npm: plotly.js-basic-dist-min


def chart_library() -> str:
    """The library's source; it asks no server for anything."""
    return resources.files("xent_bench.report").joinpath(FILE).read_text(encoding="utf-8")
