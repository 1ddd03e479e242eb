"""The JavaScript that draws the charts of a page: the basic part of plotly.js, in the package.

A page draws only lines, points and bars. The whole of plotly.js has 4.8 MB, this part 1.2;
a page holds it as gzip in base64, 0.53 MB, and unpacks it by DecompressionStream, which every
browser has since May 2023. The file is that of the npm package plotly.js-basic-dist-min, unchanged,
beside its licence (MIT).
"""

from importlib import resources

VERSION = "4.1.1"  # of plotly.js in the installed plotly.py; scripts/renew-plotly writes both
SHA256 = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
FILE = "plotly/plotly-basic.min.js"  # npm: plotly.js-basic-dist-min


def chart_library() -> str:
    """The source of plotly.js, which asks no server for anything."""
    return resources.files("xent_bench.report").joinpath(FILE).read_text(encoding="utf-8")
