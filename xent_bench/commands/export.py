"""xent-export: write a run's net as one file, from pixels to calibrated probabilities."""

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from xent_bench.addresses import masked_address
from xent_bench.arguments import Parser
from xent_bench.exit_codes import Exit, exit_codes_help, one_line, one_line_errors
from xent_bench.export.formats import FORMATS
from xent_bench.printable import printable
from xent_bench.process.streams import replace_what_cannot_be_shown
from xent_bench.runs.files import MODEL
from xent_bench.tracking.reach import tracking_uri

MLFLOW = "mlflow"  # the choice of --to that wraps the ONNX file for MLflow


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the console script xent-export."""
    replace_what_cannot_be_shown()
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    if complaint := _complaint(options):
        parser.error(complaint)
    with one_line_errors("xent-export"):
        sys.exit(_export(options) if options.register is None else _register(options))


def _complaint(options: argparse.Namespace) -> str:
    """Name what is wrong with the options taken together; empty if nothing is."""
    if options.register is None:
        if options.alias is not None or options.store is not None:
            return "--alias and --store go with --register NAME"
        if options.to is None or options.folder is None:
            return "expected RUN FOLDER and --to, or RUN and --register NAME"
    elif options.to is not None or options.folder is not None:
        return "--register writes to MLflow: expected RUN and no FOLDER, without --to"
    return ""


def _export(options: argparse.Namespace) -> int:
    """Export the run, or the best of several, and print where the file is and how it was checked.

    Returns the exit code.
    """
    run, chosen = _chosen(options.run)
    from xent_bench.export.description import shape_text  # PyTorch takes seconds
    from xent_bench.export.export import Mismatch, Wanted, export
    from xent_bench.export.mlflow_model import write_mlflow_model

    wanted = Wanted(
        *(options.to, options.folder, options.license, options.tolerance, options.unchecked),
        chosen=chosen,
    )
    try:
        exported = (write_mlflow_model if options.to == MLFLOW else export)(run, wanted)
    except Mismatch as error:
        print(f"xent-export: {one_line(str(error))}", file=sys.stderr)
        return Exit.NOT_AS_EXPECTED
    input_form, output_form = exported.description["input"], exported.description["output"]
    print(
        f"{exported.file}: {exported.content}, {exported.file.stat().st_size:,} bytes; "
        f"{input_form['dtype']} {shape_text(input_form['shape'])} -> probabilities "
        f"{shape_text(output_form['shape'])}"
    )
    print(printable(exported.check_sentence))
    print(f"How to use it: {exported.file.parent / 'README.md'}")
    return Exit.DONE


def _register(options: argparse.Namespace) -> int:
    """Register the run, or the best of several, and print where it is and how to predict with it.

    Returns the exit code.
    """
    run, chosen = _chosen(options.run)
    from xent_bench.export.export import Mismatch, Wanted  # PyTorch takes seconds
    from xent_bench.export.registered import Registration, register_run  # and so does MLflow

    wanted = Wanted(
        *("onnx", run, options.license, options.tolerance, options.unchecked), chosen=chosen
    )
    registration = Registration(options.register, options.alias, options.store)
    try:
        version, exported = register_run(run, wanted, registration)
    except Mismatch as error:
        print(f"xent-export: {one_line(str(error))}", file=sys.stderr)
        return Exit.NOT_AS_EXPECTED
    alias = f", @{options.alias}" if options.alias else ""
    state = "registered" if version.is_new else "registered before, with the same weights"
    print(f"{version.address}{alias}: {state}; {masked_address(version.store)}")
    print(printable(exported.check_sentence))
    example = run / MODEL / "serving_input_example.json"
    print(f"To predict: {version.command(printable(str(example)))}")
    print(f"Probabilities come in the order of the classes in {run / MODEL / 'model.json'}")
    ui = "" if version.is_served else f"{_ui(version.store)}, then "
    print(f"To look at it: {ui}{version.page}")
    return Exit.DONE


def _chosen(place: Path) -> tuple[Path, str]:
    """The run's folder, and why it is the best below a place, which is also printed.

    The reason is empty for a place that is a run's folder itself.
    """
    from xent_bench.comparison.best_run import chosen_run  # SciPy is slow to import

    run, reason = chosen_run(place)
    if reason:
        print(printable(reason), file=sys.stderr)
    return run, reason


def _ui(store: str) -> str:
    """The command that serves MLflow's UI for a store."""
    return "xent-ui" if store == tracking_uri(None) else f"xent-ui --store {shlex.quote(store)}"


def _tolerance(text: str) -> float:
    try:
        tolerance = float(text)
    except ValueError:
        tolerance = math.nan
    if not 0 <= tolerance <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, as 1e-4, got {text}")
    return tolerance


def _licence(text: str) -> str:
    if not text.strip() or text != printable(text) or "\n" in text:
        raise argparse.ArgumentTypeError(f"expected a name, as apache-2.0, got {text!r}")
    return text.strip()


def _parser() -> Parser:
    parser = Parser(
        prog="xent-export",
        description="Write the net of a finished run as one file that takes pixels and gives "
        "calibrated probabilities: normalisation, net, link and temperature are inside. The file "
        "is checked against the run's stored predictions on test, and a model card is written "
        "beside it.",
        epilog=exit_codes_help(Exit.NOT_AS_EXPECTED, Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE),
    )
    parser.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="a run's folder; or one above several runs, of which the best on val is taken",
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", metavar="FOLDER", help="a new or empty folder, for --to"
    )
    parser.add_argument(
        "--to",
        choices=(*FORMATS, MLFLOW),
        help="onnx: runs without PyTorch (pip install 'xent-bench[onnx]'); pt2: a graph of "
        "torch.export; safetensors: the weights as data, for Python with xent_bench; mlflow: the "
        "ONNX file as an MLflow model",
    )
    parser.add_argument(
        "--register",
        metavar="NAME",
        help="register it in MLflow as a version of the model NAME, beside its run, which is sent "
        "first where the store lacks it; typed twice, it is the same version",
    )
    parser.add_argument("--alias", metavar="ALIAS", help="an alias for that version, as champion")
    parser.add_argument(
        "--store", metavar="URI", help="the store to register in (default: that of the run)"
    )
    parser.add_argument(
        "--license",
        type=_licence,
        metavar="NAME",
        help="the licence of the net, as apache-2.0; without it 'not stated'",
    )
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        metavar="P",
        help="the largest difference of a probability to those of the run (default: 1e-4; 1e-2 "
        "for a run in tf32, 0.1 in bf16, since the file computes in fp32)",
    )
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="export also where the images of test are gone, compared with PyTorch alone",
    )
    return parser
