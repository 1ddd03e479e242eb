"""xent-embed: compute the features of a data set once, to train heads on them many times."""

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xent_bench.arguments import Parser, existing_folder
from xent_bench.config.composed import composed
from xent_bench.config.configure import ConfigError, check_sources, check_top_level
from xent_bench.config.explain import refuse_of_user
from xent_bench.exit_codes import Exit, exit_codes_help
from xent_bench.process.lost_output import outlive_output
from xent_bench.process.signals import Preempted, raise_on_signal
from xent_bench.process.streams import replace_what_cannot_be_shown

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from xent_bench.embedding.embed import Embedded

# top-level keys of a run that say which images, which net, and how they are computed
KEYS = ("data", "model", "seed", "precision", "batch_size", "machine")
OPTIONS = ("out", "views", "dtype")
ENDINGS = (".npz", ".safetensors")
DTYPES = ("float32", "float16")
MOST_VIEWS = 1000
LINE_SECONDS = 30.0  # between two lines of progress where there is no terminal


def main() -> None:
    """Run the command. A user's error ends it with one line and an exit code, not a traceback."""
    replace_what_cannot_be_shown()
    options = _parser().parse_intermixed_args()
    outlive_output()
    raise_on_signal()
    try:
        _embed(options.settings, options.config_dir)
    except (KeyboardInterrupt, Preempted) as ending:
        by_hand = isinstance(ending, KeyboardInterrupt)
        print(f"{'Interrupted' if by_hand else 'Preempted'}. The same command goes on from here.")
        sys.exit(Exit.INTERRUPTED if by_hand else Exit.PREEMPTED)
    except Exception as error:
        refuse_of_user(error, "xent-embed")


def _embed(words: list[str], folder: Path | None) -> None:
    chosen = {name: value for name, _, value in (word.partition("=") for word in words)}
    ours = [word for word in words if word.partition("=")[0] in OPTIONS]
    others = [word for word in words if word not in ours]
    options = _options({name: chosen[name] for name in OPTIONS if name in chosen})
    config = composed(others, folder, KEYS, command="xent-embed", options=OPTIONS)
    check_top_level(config)
    check_sources(config)
    print("Loading PyTorch ...", flush=True)
    from xent_bench.embedding.embed import Wanted, embed  # seconds of imports

    flags = [] if folder is None else ["--config-dir", str(folder)]
    command = shlex.join(["xent-embed", *flags, *words])
    with _Progress() as report:
        embedded = embed(config, Wanted(**options), command, report)
    _say(embedded, config)


def _say(embedded: "Embedded", config: "DictConfig") -> None:
    size = f"{embedded.n:,} x {embedded.width:,}"
    if embedded.done_before:
        print(f"Done before: {embedded.file} has these features ({size}); nothing was computed.")
    else:
        print(f"{embedded.file}: features of {size}.")
    if embedded.has_drawn_weights:
        print(
            "The net has weights drawn at random, since model.weights names none.", file=sys.stderr
        )
    root = shlex.quote(f"data.root={embedded.file}")
    seed = f" seed={config.seed}" if config.seed else ""
    print(f"Next: xent-train -m data=features {root} model=linear loss=ce,focal{seed}")


def _options(typed: dict[str, str]) -> dict[str, Any]:
    """The values of out, views and dtype, checked."""
    values: dict[str, Any] = dict(typed)
    if "out" in typed:
        values["out"] = Path(typed["out"].strip("'\"")).expanduser()
        if values["out"].suffix not in ENDINGS:
            raise ConfigError(
                "out", f"expected a file called .npz or .safetensors, got {typed['out']}"
            )
    if "views" in typed:
        if not typed["views"].isdecimal() or int(typed["views"]) > MOST_VIEWS:
            raise ConfigError(
                "views", f"expected a number from 0 to {MOST_VIEWS}, got {typed['views']}"
            )
        values["views"] = int(typed["views"])
    if "dtype" in typed and typed["dtype"] not in DTYPES:
        raise ConfigError("dtype", f"expected float32 or float16, got {typed['dtype']}")
    return values


class _Progress:
    """A bar on a terminal, else a line now and then."""

    def __enter__(self) -> Any:
        """Start; the result reports how many rows are done, and how many there are in all."""
        from rich import progress
        from rich.console import Console

        console = Console(stderr=True)
        self.on_terminal, self.next_line = console.is_terminal, time.monotonic() + LINE_SECONDS
        columns = (
            progress.TextColumn("features"),
            progress.BarColumn(bar_width=30),
            progress.TextColumn("{task.completed:,.0f}/{task.total:,.0f} images"),
            progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        )
        self.bar = progress.Progress(
            *columns, console=console, transient=True, disable=not self.on_terminal
        )
        self.task: Any = None
        return self.report

    def report(self, done: int, total: int) -> None:
        """Show how far it is."""
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("", total=total)
        self.bar.update(self.task, completed=done)
        if not self.on_terminal and time.monotonic() > self.next_line:
            self.next_line = time.monotonic() + LINE_SECONDS
            print(f"features: {done:,} of {total:,} images", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        """Remove the bar, so that what follows is printed in its place."""
        self.bar.stop()


def _parser() -> Parser:
    parser = Parser(
        prog="xent-embed",
        description="Computes features once: the images of a set go through a net, whose last "
        "layer is left out. Heads are then trained on them with data=features.",
        epilog="xent-embed data=fashion_mnist model=cnn model.weights=FILE: writes "
        "features/fashion_mnist-cnn-KEY.npz. Typing a command again continues it; if it is done, "
        "nothing is computed. data, model, seed, precision and machine are as in xent-train --help."
        " "
        + exit_codes_help(
            Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE, Exit.PREEMPTED, Exit.INTERRUPTED
        ),
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="data=NAME model=NAME and their keys; out=FILE (.npz or .safetensors); views=N: also "
        "N flipped and cropped versions of each image, of which training draws one; "
        "dtype=float16: half the size",
    )
    parser.add_argument(
        "--config-dir",
        type=existing_folder,
        help="a folder with your own data/NAME.yaml, model/NAME.yaml",
    )
    return parser
