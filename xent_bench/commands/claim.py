"""xent-claim: train what a published claim needs, and judge it by rules that were fixed before."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xent_bench.arguments import Parser
from xent_bench.exit_codes import Exit, exit_codes_help, one_line_errors
from xent_bench.failures import UsageError
from xent_bench.process.signals import Preempted
from xent_bench.process.streams import replace_what_cannot_be_shown

if TYPE_CHECKING:
    from xent_bench.claims.schema import Size
    from xent_bench.claims.standing import Standing
    from xent_bench.claims.sweep import Asked

FORMS = ("table", "markdown", "json")
SIZES = ("cpu", "gpu")
PASSED = (
    *("machine.", "machine=", "hydra/launcher=", "hydra.launcher."),
    *("data.root=", "data.download="),  # where the images are, and not which
)
PAGE = "claim.html"
EXAMPLES = (
    "machine.jobs=2, machine.runs=FOLDER, hydra/launcher=slurm, data.root=FOLDER or "
    "data.download=true"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the console script xent-claim."""
    replace_what_cannot_be_shown()
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    judged = True
    try:
        with one_line_errors("xent-claim"):
            judged = claim(options)
            sys.stdout.flush()
    except Preempted:  # after the sweep, which ends by itself
        sys.exit(Exit.PREEMPTED)
    sys.exit(Exit.DONE if judged else Exit.NOT_AS_EXPECTED)


def claim(options: argparse.Namespace) -> bool:
    """List the claims, or train and judge one; returns whether what was asked for has an answer."""
    names, size, words = _sorted(options.words)
    if options.config_dir is not None and not options.config_dir.is_dir():
        raise UsageError(f"--config-dir: no folder {options.config_dir} here")
    if not names:
        if options.show or options.judge or options.page:
            raise UsageError("--show, --judge and --page: expected the name of a claim")
        show_list(size, words, options)
        return True
    (name,) = names
    asked = ask(name, size, words, options.config_dir)
    if options.show:
        _show_plan(asked, options)
        return True
    standing = complete(asked, options)
    return _answer(standing, options)


def ask(name: str, size: "Size", words: Sequence[str], added: Path | None) -> "Asked":
    """Read the file of a claim, and check that it has this size."""
    from xent_bench.claims.read import claim_files, find_claim, read_claim
    from xent_bench.claims.schema import hash_of
    from xent_bench.claims.sweep import Asked

    file = find_claim(name, claim_files(added))
    content = read_claim(file)
    if size not in content.sizes:
        raise UsageError(
            f"size={size}: {file} has none; expected size={' or '.join(content.sizes)}"
        )
    return Asked(name, content, size, hash_of(content.decisive(size)), tuple(words))


def complete(asked: "Asked", options: argparse.Namespace) -> "Standing":
    """Train the runs that the claim lacks, unless --judge asks for what is there alone."""
    from xent_bench.claims.cells import compose_arms, runs_folder
    from xent_bench.claims.declared import declare, withdraw
    from xent_bench.claims.outputs import check_outputs
    from xent_bench.claims.standing import stand_by

    folder = runs_folder(asked, options.config_dir)
    arms = compose_arms(asked, options.config_dir)
    standing = stand_by(asked, folder, arms)
    if not standing.cells.open() or options.judge:
        return standing
    check_outputs(asked, options.config_dir)
    declare(folder, asked.claim.decisive(asked.size))
    try:
        _train(asked, options.config_dir)
    finally:
        withdraw(folder)
    return stand_by(asked, folder, arms)


def show_list(size: "Size", words: Sequence[str], options: argparse.Namespace) -> None:
    """Print all claims with their verdicts so far."""
    from xent_bench.claims.cells import runs_folder
    from xent_bench.claims.read import claim_files
    from xent_bench.claims.standing import kept
    from xent_bench.report.claim_words import claims_table
    from xent_bench.tables import FORMS as SHOW

    rows = []
    for name in claim_files(options.config_dir):
        asked = ask(name, size, words, options.config_dir)
        rows.append((name, asked, kept(runs_folder(asked, options.config_dir))))
    if options.form == "json":
        records = [
            {"name": name, "claim": asked.claim.claim, "rules": asked.hash, "verdict": verdict}
            for name, asked, verdict in rows
        ]
        print(json.dumps(records, indent=2, ensure_ascii=False))
    else:
        table = claims_table([(name, asked.hash, verdict) for name, asked, verdict in rows])
        SHOW[options.form](table)


def _train(asked: "Asked", added: Path | None) -> None:
    """Type the sweeps of a claim. A run that diverged is a result; any other failure ends it."""
    from xent_bench.claims.sweep import sweeps
    from xent_bench.commands import train

    flags = [] if added is None else ["--config-dir", str(added)]
    for words in sweeps(asked):
        print(f"xent-train {shlex.join([*flags, *words])}", file=sys.stderr, flush=True)
        sys.argv = ["xent-train", *flags, *words]
        try:
            train.main()
        except SystemExit as end:
            if end.code not in (None, Exit.DONE, Exit.DIVERGED):
                raise


def _answer(standing: "Standing", options: argparse.Namespace) -> bool:
    """Print the verdict and write the page, or say what is missing; returns which it was."""
    from xent_bench.claims.cells import runs_folder
    from xent_bench.claims.standing import forget, keep

    folder = runs_folder(standing.asked, options.config_dir)
    if standing.judgement is None:
        _say_what_is_missing(standing, folder, options)
        forget(folder)
        return False
    if options.form == "json":
        _print_json(standing)
    else:
        _show_or_go_on(standing, options.form)
    page = options.page or folder / PAGE
    _write_page(standing, page)
    print(f"Page: {page}", file=sys.stderr)
    keep(standing, folder)
    return True


def _say_what_is_missing(standing: "Standing", folder: Path, options: argparse.Namespace) -> None:
    """Print how many runs are missing; as JSON with null for a verdict, and the words to stderr."""
    from xent_bench.report.claim_words import edit_lines, incomplete

    words = sys.stdout
    if options.form == "json":
        _print_json(standing)
        words = sys.stderr
    for line in edit_lines(standing):
        print(line, file=words)
    again = _typed(standing.asked, options)
    print(incomplete(standing, shlex.quote(str(folder)), again), file=words)


def _print_json(standing: "Standing") -> None:
    from xent_bench.report.claim_record import json_record

    print(json.dumps(json_record(standing), indent=2, ensure_ascii=False, allow_nan=False))


def _typed(asked: "Asked", options: argparse.Namespace) -> str:
    """The command that trains what the claim lacks."""
    flags = [] if options.config_dir is None else ["--config-dir", str(options.config_dir)]
    size = ["size=gpu"] if asked.size == "gpu" else []
    return shlex.join(["xent-claim", *flags, asked.name, *size, *asked.words])


def _show_or_go_on(standing: "Standing", form: str) -> None:
    """Print the verdict; where the reader of a pipe has left, the page is written nevertheless."""
    try:
        _show(standing, form)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # xent-claim NAME | head; Rich turns it into an exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show(standing: "Standing", form: str) -> None:
    from xent_bench.report import claim_words as words
    from xent_bench.tables import FORMS as SHOW
    from xent_bench.tables import TEXT

    assert standing.judgement is not None
    TEXT[form](words.about(standing.asked))
    SHOW[form](words.parts_table(standing.judgement))
    SHOW[form](words.protocols_table(standing))
    TEXT[form]([*words.rules_in_words(standing.asked.claim), *words.remarks(standing)])
    TEXT[form](words.edit_lines(standing))
    TEXT[form]([words.cost_sentence(standing), words.verdict_sentence(standing.judgement)])


def _show_plan(asked: "Asked", options: argparse.Namespace) -> None:
    """Print what would be trained, and by which rules it would be judged, once that composes."""
    from xent_bench.claims.cells import compose_arms
    from xent_bench.claims.sweep import sweeps
    from xent_bench.report.claim_words import plan
    from xent_bench.tables import print_text

    compose_arms(asked, options.config_dir)
    print_text(plan(asked))
    flags = [] if options.config_dir is None else ["--config-dir", str(options.config_dir)]
    for words in sweeps(asked):
        print(f"xent-train {shlex.join([*flags, *words])}")


def _write_page(standing: "Standing", page: Path) -> None:
    from xent_bench.report.claim_page import write_claim_page

    write_claim_page(standing, page)


def _sorted(words: Sequence[str]) -> "tuple[list[str], Size, list[str]]":
    """Part the words into the claim's name, its size, and words for xent-train."""
    names = [word for word in words if "=" not in word]
    if len(names) > 1:
        raise UsageError(f"{names[1]}: one too many; expected the name of one claim")
    sizes = [word.partition("=")[2] for word in words if word.startswith("size=")]
    for size in sizes:
        if size not in SIZES:
            raise UsageError(f"size={size}: expected size={' or size='.join(SIZES)}")
    passed = [word for word in words if "=" in word and not word.startswith("size=")]
    for word in passed:
        if not word.startswith(PASSED):
            key = word.partition("=")[0]
            raise UsageError(f"{key}: is fixed by the claim; expected words such as {EXAMPLES}")
    return names, "gpu" if sizes[-1:] == ["gpu"] else "cpu", passed


def _parser() -> Parser:
    parser = Parser(
        prog="xent-claim",
        description="Does a published claim about losses hold here? Each claim has a design and "
        "rules that are fixed before its runs: replicated, not replicated, inconclusive, or only "
        "as published. Without a name: all claims, with their verdicts so far.",
        epilog="xent-claim focal-calibrates machine.jobs=2: trains what is missing, judges, and "
        f"writes runs/claim-focal-calibrates/{PAGE}. "
        + exit_codes_help(
            Exit.NOT_AS_EXPECTED, Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE, Exit.INTERRUPTED
        )
        + " 0 is any verdict, 1: runs are missing, so that there is none.",
    )
    add = parser.add_argument
    add(
        "words",
        nargs="*",
        metavar="NAME",
        help="the claim; size=gpu: its design for a GPU; and words that are passed to xent-train: "
        f"{EXAMPLES}",
    )
    add("--show", action="store_true", help="show the design, the rules and the commands alone")
    add("--judge", action="store_true", help="train nothing: judge the runs that are there")
    add("--page", type=Path, metavar="FILE", help=f"the page (runs/claim-NAME/{PAGE})")
    add("--format", choices=FORMS, default="table", dest="form", help="json is for scripts")
    add(
        "--config-dir",
        type=Path,
        metavar="FOLDER",
        help="a folder laid out like conf, with claims/NAME.yaml of your own",
    )
    return parser
