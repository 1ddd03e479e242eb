"""xent-data: look through a data set before anything is trained on it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from xent_bench.arguments import Parser, existing_folder
from xent_bench.config.composed import composed
from xent_bench.config.configure import check_sources, check_top_level
from xent_bench.config.explain import refuse_of_user
from xent_bench.exit_codes import Exit, exit_codes_help, quiet_ending
from xent_bench.process.streams import replace_what_cannot_be_shown
from xent_bench.tables import print_heading, print_text

if TYPE_CHECKING:
    from xent_bench.runs.data_account import DataAccount
    from xent_bench.training.look_through import Page

KEYS = ("data", "seed", "noise", "imbalance", "train_fraction")
MOST = 10  # unreadable files and pairs of copies that are named without --all
BARS = 30  # classes that get a bar each; of more, the largest and the smallest few
FEW = 5
WIDTH = 20  # characters of the longest bar


def main() -> None:
    """Run the command. A user's error ends it with one line and an exit code, not a traceback."""
    replace_what_cannot_be_shown()
    options = _parser().parse_intermixed_args()
    with quiet_ending():
        try:
            page = _page(options.settings, options.config_dir, everything=options.all)
        except Exception as error:
            refuse_of_user(error, "xent-data")
        if options.json:
            print(json.dumps(asdict(page), indent=1))
        else:
            _print(page, options.settings, everything=options.all)
        if page.unreadable:
            sys.exit(Exit.DATA)


def _page(words: list[str], folder: Path | None, *, everything: bool) -> "Page":
    config = composed(words, folder, KEYS, command="xent-data")
    check_top_level(config)
    check_sources(config)
    print("Loading PyTorch ...", file=sys.stderr, flush=True)
    from xent_bench.training.look_through import look_through  # seconds of imports

    return look_through(config, words, folder, everything=everything)


def _print(page: "Page", words: Sequence[str], *, everything: bool) -> None:
    from xent_bench.runs.data_account import COPIES, account_rows

    name = next((word.partition("=")[2] for word in words if word.startswith("data=")), "digits")
    for label, text in account_rows(name, page.account):
        if label != COPIES:  # which are listed below
            print_text([f"{label}: {text}"])
    print_text(_file_lines(page.account))
    print_heading("Images of each class")
    print(*_class_lines(page.counts), sep="\n")
    if page.account.leaks:
        shown = [f"{copy} is {first}" for first, copy in page.account.leak_examples]
        leaks = page.account.leaks
        numbers = ", ".join(f"{n:,} of {split}" for split, n in leaks.items())
        print_heading(f"Copies of images of an earlier split: {numbers}")
        print_text(_some(shown, sum(leaks.values())))
    if page.unreadable:
        listed = page.unreadable if everything else page.unreadable[:MOST]
        print_heading("Not readable: replace or delete them")
        print_text(_some(listed, len(page.unreadable)))
    if page.hints:
        print_heading("Hints")
        print_text(page.hints)
    after = "When these files are replaced or deleted: " if page.unreadable else "Next: "
    print_text([f"{after}{page.next_command}"])


def _file_lines(account: "DataAccount") -> list[str]:
    """Sizes and modes of the files in words; empty for sets that are not files."""
    if not account.sizes:
        return []
    small, middle, large = (
        "{} x {}".format(*account.sizes[name]) for name in ("smallest", "median", "largest")
    )
    modes = ", ".join(f"{n:,} {mode}" for mode, n in account.modes.items())
    return [f"files: {small} to {large} pixels, median {middle}; {modes}"]


def _class_lines(counts: dict[str, dict[str, float]]) -> list[str]:
    """A bar for each class, by its images in train, with the numbers in each split."""
    train = counts["train"]
    order = sorted(train, key=lambda name: -train[name])
    shown = order if len(order) <= BARS else [*order[:FEW], *order[-FEW:]]
    most, width = max(*train.values(), 1), max(map(len, shown))
    lines = []
    for place, name in enumerate(shown):
        if len(shown) < len(order) and place == FEW:
            lines.append(f"... {len(order) - 2 * FEW:,} classes between them")
        bar = "█" * round(WIDTH * train[name] / most)
        numbers = ", ".join(
            f"{f'{counts[split][name]:,.1f}'.removesuffix('.0')} {split}" for split in counts
        )
        lines.append(f"{name:{width}} {bar:{WIDTH}} {numbers}")
    return lines


def _some(lines: Sequence[str], n: int) -> list[str]:
    more = n - len(lines)
    return [*lines, f"... and {more:,} more: --all lists them"] if more > 0 else list(lines)


def _parser() -> Parser:
    parser = Parser(
        prog="xent-data",
        description="Looks through a data set: splits, class balance, sizes, copies, files that "
        "cannot be read. Every file is read once, which later runs remember.",
        epilog="xent-data data=image_folder data.root=PHOTOS. The keys are those of xent-train "
        "--help; with noise=..., imbalance=... or train_fraction=... the counts are what a run "
        "would be trained on. " + exit_codes_help(Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE),
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="data=NAME, its keys, seed=N, noise=NAME, imbalance=NAME, train_fraction=SHARE",
    )
    parser.add_argument("--all", action="store_true", help="name all copies and unreadable files")
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.add_argument(
        "--config-dir", type=existing_folder, help="a folder with your own data/NAME.yaml"
    )
    return parser
