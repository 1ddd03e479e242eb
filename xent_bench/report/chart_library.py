"""The JavaScript that draws the charts of a page: the basic part of plotly.js, in the package.

A page draws only lines, points and bars. The whole of plotly.js has 4.8 MB, this part 1.2;
a page holds it as gzip in base64, 0.53 MB, and unpacks it by DecompressionStream, which every
browser has since May 2023. The source is that of the npm package plotly.js-basic-dist-min,
unchanged, kept as gzip beside its licence (MIT). The whole library, which plotly.py brings, would
make a page of more than 2 MB even when packed.
"""

import gzip
from importlib import resources

VERSION = "4.1.1"  # of plotly.js in the installed plotly.py; scripts/renew-plotly writes both
SHA256 = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"  # of the source
FILE = "plotly/plotly-basic.min.js.gz"  # npm: plotly.js-basic-dist-min


def chart_library() -> str:
    """The source of plotly.js, which asks no server for anything."""
    return gzip.decompress(
        resources.files("xent_bench.report").joinpath(FILE).read_bytes()
    ).decode()
