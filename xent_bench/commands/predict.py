"""xent-predict: the class of each image and its calibrated probability, with a run's net."""

import argparse
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from xent_bench.arguments import Parser
from xent_bench.exit_codes import Exit, exit_codes_help, one_line_errors
from xent_bench.process.streams import replace_what_cannot_be_shown

SPLITS = ("test", "calib", "val", "train")
CHOICE = re.compile(r"\+{0,2}data(\.[\w.]+)?=.*", re.S)  # a word of a choice of data


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the console script. A picture that cannot be read ends it with code 3, at the end."""
    replace_what_cannot_be_shown()
    typed = _parser().parse_intermixed_args(arguments)
    with one_line_errors("xent-predict"):
        sys.exit(_predict(typed))


def _predict(typed: argparse.Namespace) -> int:
    from xent_bench.prediction.options import Options, refuse_contradictions

    words = typed.images
    data = tuple(word for word in words if CHOICE.fullmatch(word) and not os.path.exists(word))
    options = Options(
        tuple(word for word in words if word not in data),
        data,
        typed.split,
        typed.top,
        typed.coverage,
        typed.abstain,
        is_ensemble=typed.ensemble,
        is_raw=typed.raw,
        device=typed.device,
        csv=typed.csv,
        is_json=typed.json,
    )
    refuse_contradictions(options)
    from xent_bench.prediction.predict import predict  # PyTorch takes seconds

    try:
        return Exit.DATA if predict(typed.run, options) else Exit.DONE
    except BrokenPipeError:
        raise
    except Exception as error:
        if not data:
            raise
        from xent_bench.config.explain import refuse_of_user  # a choice of data is a config

        refuse_of_user(error, "xent-predict")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return int(text)


def _parser() -> Parser:
    parser = Parser(
        prog="xent-predict",
        description="Predicts images with a run's net: class, calibrated probability, and on "
        "demand a set that holds the true class as often as asked. Images are resized and "
        "normalised as the run's test was. Of a folder of runs, the loss that is best on val is "
        "taken, with its best seed.",
        epilog="xent-predict runs/quickstart photos --csv predictions.csv. A picture that cannot "
        "be read is a row that says so, and the exit code is then 3. "
        + exit_codes_help(Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE, Exit.INTERRUPTED),
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, or one above runs")
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGES",
        help="image files; folders, with all folders in them; files of features for a net on "
        "features; or a set as xent-train takes it: data=NAME data.KEY=VALUE",
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        help="images of the run's own data, with scores; train has none",
    )
    parser.add_argument(
        "--top", type=_count, default=3, metavar="K", help="classes of each image (default: 3)"
    )
    parser.add_argument(
        "--coverage",
        type=_share,
        metavar="P",
        help="also the set of classes that holds the true one with this probability, such as 0.9",
    )
    parser.add_argument(
        "--abstain",
        type=_share,
        metavar="P",
        help="mark answers whose probability is below P, and print what calib shows of the others",
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="average all finished seeds of the run's loss, or of the best loss of a folder",
    )
    parser.add_argument(
        "--raw", action="store_true", help="probabilities as trained, without the temperature"
    )
    parser.add_argument("--csv", metavar="FILE", help="write all rows to a file; -: to the output")
    parser.add_argument(
        "--json", action="store_true", help="print one object of JSON for each image, one a line"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the run's own kind")
    return parser
