"""Who may import whom: this table is the law, and changing it a design decision."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "xent_bench"

# module or folder -> what of ours it may import
OURS = {
    "ranges": set(),
    "failures": set(),
    "offer": set(),
    "preemption": set(),
    "whole_files": set(),
    "processors": set(),
    "cache_folder": set(),
    "batch_statistics": set(),
    "arithmetic": set(),
    # a trained net as users take it with them: nothing of the harness that trained it
    "net_record": {
        *("data", "failures", "links", "provenance", "ranges", "run_files", "schema"),
        "whole_files",
    },
    "net_code": {"configure", "links", "net_record"},
    "trained_net": {
        *("arithmetic", "calibrators", "checkpoint", "data", "failures", "links", "net_code"),
        *("net_record", "run_files"),
    },
    "randomness": set(),
    "stats": set(),
    "run_files": {"failures"},
    "refusal": {"explain", "failures", "run_files"},
    "garbage": set(),
    "garbage_paused": {"garbage"},
    "runs": {"run_files", "whole_files"},
    "curves": {"failures", "whole_files"},
    "provenance": set(),
    "checkpoint": {"failures", "run_files", "whole_files"},
    "checkpointing": {"checkpoint", "data", "exhausted", "preemption"},
    "libraries": set(),
    "code_hash": {"libraries"},
    "origin": {"code_hash", "failures"},
    "exhausted": {"configure", "failures", "libraries"},
    "within_epoch": {"data", "gather"},
    "gather": set(),
    "divergence": {"failures", "types"},
    "validation": {"links", "metrics", "predictions", "types"},
    "ranks": {"failures", "preemption"},
    "progress": {"data", "pace"},
    "pace": {"whole_files"},
    "planned": {"calibrators", "failures", "run_files", "whole_files"},
    "command": set(),
    "standing": {"pace", "planned", "run_files", "runs", "sources"},
    "status": {"standing"},
    "types": set(),
    "arrays": set(),
    "links": {"arrays", "offer"},
    "losses": {"links", "ranges", "types"},
    "metrics": {"arrays", "links", "metrics"},
    "predictions": {"arrays", "failures", "links", "whole_files"},
    "calibrators": {"arrays", "calibrators", "links", "predictions"},
    "evaluation": {"arrays", "calibrators", "links", "metrics", "predictions", "recipe"},
    "recipe": {"arrays", "calibrators", "metrics"},
    "still_falling": {"stats"},
    "trust": {"runs", "stats"},
    "models": {"ranges"},
    "optimizers": {"ranges"},
    "schedules": {"ranges"},
    "data": {
        *("cache_folder", "data", "failures", "preemption", "processors", "randomness", "ranges"),
        *("types", "whole_files"),
    },
    "schema": {"ranges", "run_files"},
    "signatures": set(),
    "nearest": set(),
    "configure": {"nearest", "schema", "signatures"},
    "targets": {"configure", "types"},
    "explain": {"configure", "failures", "nearest", "schema"},
    "sweeps": {
        *("calibrators", "command", "configure", "explain", "failures", "pace", "planned"),
        *("preemption", "refusal", "run_files", "runs", "schema", "sweeps", "sync", "targets"),
        *("tracking", "train", "whole_files"),
    },
    "tracking": {
        *("cache_folder", "curves", "failures", "run_files", "runs", "scorecard", "still_falling"),
        *("tracking", "whole_files"),
    },
    "sync": {"failures", "run_files", "runs", "tracking"},
    "classifier": {
        *("curves", "data", "divergence", "exhausted", "gather", "links"),
        *("randomness", "types", "validation", "within_epoch"),
    },
    "population": {"targets", "types"},
    "posteriors": {"links", "population"},
    "geometry": {"population", "types"},
    "certificate": {"geometry", "links", "offer", "population", "posteriors", "targets"},
    "catalogue": {
        *("certificate", "geometry", "links", "population", "posteriors", "tables", "targets"),
    },
    "list_losses": {"catalogue", "certificate", "configure", "nearest", "schema", "tables"},
    "trainer": {"arithmetic", "checkpoint", "failures", "processors", "schema"},
    "try_out": {"classifier", "configure", "exhausted", "types"},
    "build": {
        *("classifier", "configure", "data", "exhausted", "gather", "links", "offer", "processors"),
        *("randomness", "schema", "targets", "try_out"),
    },
    "fit": {
        *("batch_statistics", "build", "checkpoint", "checkpointing", "classifier", "configure"),
        *("data", "divergence", "evaluation", "exhausted", "failures", "garbage", "gather"),
        *("net_record", "origin", "predictions", "preemption", "progress", "provenance"),
        *("run_pictures", "runs", "schema", "still_falling", "tracking", "trainer", "whole_files"),
    },
    "attempt": {
        *("checkpoint", "failures", "fit", "preemption", "ranks", "run_files", "runs", "schema"),
        *("sync", "tracking"),
    },
    "train": {
        *("attempt", "calibrators", "checkpoint", "command", "configure", "explain", "failures"),
        *("garbage", "preemption", "refusal", "rescore", "run_files", "schema", "sync"),
        "tracking",
    },
    "trials": {"runs", "stats"},
    "tuning": {"runs", "trials", "yardsticks"},
    "yardsticks": set(),
    "contrasts": {"runs", "stats", "yardsticks"},
    "control": {"runs"},
    "settings": {"runs", "trials"},
    "comparison": {
        *("contrasts", "control", "runs", "settings", "stats", "still_falling", "trials"),
        *("trust", "tuning", "yardsticks"),
    },
    "conclusion": {"comparison", "contrasts", "trust", "tuning", "yardsticks"},
    "records": {"comparison", "contrasts", "report_tables"},
    "sources": {"runs"},
    "colours": set(),
    "plots": {"comparison", "sources"},
    "evidence": {
        *("arrays", "calibrators", "comparison", "curves", "evaluation", "metrics"),
        *("predictions", "runs"),
    },
    "charts": {
        *("charts", "colours", "comparison", "evidence", "metrics", "stats", "trials", "tuning"),
        "yardsticks",
    },
    "page_tables": {"comparison", "evidence", "sources", "tables", "yardsticks"},
    "page": {
        *("charts", "colours", "comparison", "conclusion", "evidence", "notes", "page_tables"),
        *("report_tables", "runs", "sources", "tables", "truth_table"),
    },
    "publish": {
        *("colours", "comparison", "conclusion", "failures", "page", "runs", "tracking"),
        "tracking",
    },
    "stored_runs": {"curves", "failures", "runs", "tracking"},
    "ui": {"failures", "tracking"},
    "pictures": {"arrays", "metrics"},
    "run_pictures": {"calibrators", "evaluation", "metrics", "pictures", "whole_files"},
    "scorecard": {"calibrators", "runs", "tables"},
    "rescore": {
        *("calibrators", "evaluation", "failures", "predictions", "run_files", "run_pictures"),
        *("runs", "scorecard", "sync", "tables", "tracking"),
    },
    "tables": set(),
    "report_tables": {"comparison", "contrasts", "stats", "tables", "yardsticks"},
    "notes": {"comparison", "sources", "trust", "yardsticks"},
    "truth_table": {"comparison", "tables"},
    "report_options": {"yardsticks"},
    "report": {
        *("comparison", "conclusion", "failures", "notes", "page", "plots", "publish"),
        *(
            "planned",
            "records",
            "report_options",
            "report_tables",
            "runs",
            "sources",
            "stored_runs",
            "tables",
            "truth_table",
            "yardsticks",
        ),
    },
}

# whoever needs one of these needs a reason: a library's place in the design
THEIRS = {
    "torch": {
        *("arithmetic", "batch_statistics", "build", "catalogue", "certificate", "checkpoint"),
        *("classifier", "data", "divergence", "trained_net"),
        "checkpointing",
        *("fit", "gather", "geometry", "list_losses", "losses", "models", "optimizers"),
        *("population", "posteriors", "provenance", "randomness", "schedules", "sweeps", "targets"),
        *("trainer", "try_out", "types", "validation", "within_epoch"),
    },
    "hydra": {"command", "configure", "explain", "schema", "sweeps", "train"},
    "mlflow": {"publish", "stored_runs", "tracking"},
    "pytorch_lightning": {
        "checkpoint",
        "checkpointing",
        "classifier",
        "fit",
        "progress",
        "tracking",
        "trainer",
    },
    "matplotlib": {"pictures", "plots"},
    "plotly": {"charts", "page"},
    "jinja2": {"page"},
    "torchvision": {"data", "models"},
    "sklearn": {"calibrators", "data"},
    "scipy": {"calibrators", "links", "metrics", "population", "recipe", "stats", "still_falling"},
    "threadpoolctl": {"certificate"},
    "rich": {"list_losses", "progress", "status", "sweeps", "tables"},
    "pydantic": {"configure", "net_record"},  # it checks what users write, and files of others
}

# names of parts (a loss, a net, a set) that the harness must not know
PARTS = {"losses", "models", "optimizers", "schedules"}
FILES = sorted(PACKAGE.rglob("*.py"))


def part(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {file}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_what_the_table_allows(file):
    if file == PACKAGE / "__init__.py":
        assert imports(file) == set()
        return
    for name in imports(file):
        top, _, rest = name.partition(".")
        if top == "xent_bench":
            assert rest.partition(".")[0] in OURS[part(file)], name
        elif top in THEIRS:
            assert part(file) in THEIRS[top], name


def test_the_table_names_every_module():
    assert {part(file) for file in FILES} - {"__init__"} == OURS.keys()


def test_the_harness_names_no_part():
    for module, allowed in OURS.items():
        if module not in PARTS:
            assert not allowed & PARTS, module


def test_losses_do_not_import_one_another():
    for file in (PACKAGE / "losses").glob("*.py"):
        assert not [name for name in imports(file) if name.startswith("xent_bench.losses")]


def test_a_page_is_short():
    """One idea that reads from top to bottom; four pages that refer to each other are longer."""
    for file in FILES:
        assert len(file.read_text().splitlines()) <= 300, file


def test_no_file_is_a_drawer_for_anything():
    drawers = {"utils", "util", "common", "core", "helpers", "base", "components", "misc"}

    assert not [file for file in FILES if file.stem in drawers]
