"""Who may import whom: this table is the law, and changing it a design decision."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "xent_bench"

# module or folder, from the ground up -> what else of ours it may import
OURS = {
    "addresses": set(),
    "arrays": set(),
    "cache_folder": set(),
    "device_faults": set(),
    "failures": {"addresses", "device_faults"},
    "offer": set(),
    "net_parts": set(),
    "offered_weights": set(),
    "palette": set(),
    "printable": set(),
    "randomness": set(),
    "ranges": set(),
    "shown_figure": set(),
    "tables": set(),
    "types": set(),
    "true_scores": {"types"},
    "exit_codes": {"addresses", "failures", "printable"},
    "arguments": {"config", "exit_codes"},
    "links": {"arrays", "offer"},
    "models": {
        "config",  # the nearest name
        "failures",
        "offered_weights",
        "ranges",
    },
    "optimizers": {"net_parts", "ranges"},
    "process": {"failures"},
    "schedules": {"ranges"},
    "config": {
        "addresses",
        "exit_codes",
        "failures",
        "metrics",  # the names by which an epoch can be chosen
        "offered_weights",
        "ranges",
        "types",
    },
    "losses": {"links", "ranges", "true_scores", "types"},
    "metrics": {"arrays", "links"},
    "certificates": {"cache_folder", "config", "links", "offer", "tables", "types"},
    "runs": {"arrays", "config", "failures", "links", "metrics", "printable"},
    "calibrators": {"arrays", "links", "metrics", "runs"},
    "data": {"cache_folder", "failures", "process", "randomness", "ranges", "runs", "types"},
    "corruptions": {
        "config",  # how the files of published sets are called
        *("data", "failures", "randomness", "types"),
    },
    "conditions": {"config", "data", "failures", "randomness", "ranges", "runs", "types"},
    "tracking": {"addresses", "cache_folder", "failures", "metrics", "printable", "runs"},
    "evaluation": {
        "arrays",
        "calibrators",
        "failures",
        "links",
        "metrics",
        "offer",  # class sizes, to the calibrators that need them
        "palette",
        "printable",  # names in a user's file of costs, quoted in errors
        "runs",
        "shown_figure",
        "tables",
        "tracking",
    },
    "trained_net": {
        "calibrators",
        "config",
        "data",
        "failures",
        "links",
        "process",
        "ranges",
        "runs",
    },
    "shift": {
        "cache_folder",
        "conditions",  # change labels, by which a set is known to be the same
        "config",
        "corruptions",
        "data",
        "failures",
        "metrics",
        "process",
        "randomness",
        "runs",
        "trained_net",
        "types",
    },
    "pretrained": {
        "config",
        "failures",
        "offered_weights",
        "randomness",
        "runs",
        "trained_net",  # reads files as data, and the record of an earlier net
    },
    "comparison": {
        "arrays",
        "calibrators",
        "config",  # the nearest name
        "evaluation",
        "failures",
        "metrics",
        "runs",
    },
    "training": {
        "arrays",
        "conditions",
        "config",
        "data",
        "evaluation",
        "export",  # keeps the net of a run as a model for MLflow
        "failures",
        "links",
        "metrics",
        "net_parts",
        "offer",
        "pretrained",
        "process",
        "randomness",
        "runs",
        "shift",
        "tracking",
        "trained_net",
        "types",
    },
    # runs of one net that are trained as one: above the training of a single run
    "together": {
        "conditions",
        "config",
        "data",
        "failures",
        "pretrained",  # normalises as a net's weights want it
        "process",
        "randomness",
        "runs",
        "shift",  # refuses what does not fit the images
        "training",
        "types",
    },
    "embedding": {
        "config",
        "data",
        "failures",
        "pretrained",
        "process",
        "randomness",
        "runs",
        "trained_net",
        "training",  # builds the net and loads the images as for a run
        "types",
    },
    "prediction": {
        "arrays",
        "calibrators",  # scale the outputs, and fit the temperature of an ensemble
        "comparison",  # which run is the best
        "conditions",  # the splits as the run had them
        "config",
        "data",
        "failures",
        "links",
        "metrics",
        "printable",
        "process",
        "runs",
        "shift",  # reads the images of a run again
        "tables",
        "trained_net",
        "types",
    },
    "advice": {
        "comparison",
        "config",  # the keys of a design, and the metrics that can decide
        "metrics",
        "runs",
        "tables",  # how names are joined in a sentence
    },
    # judges as a report does, and knows runs by what their words compose to
    # links: whether an arm has probabilities at all, asked before it is trained
    "claims": {"comparison", "config", "failures", "links", "metrics", "runs", "tables"},
    "report": {
        "addresses",
        "advice",  # puts the decision card into words
        "arguments",
        "arrays",
        "claims",  # puts verdicts on them into words
        "comparison",
        "config",  # the nearest name
        "exit_codes",
        "failures",
        "metrics",
        "palette",
        "printable",
        "runs",
        "shown_figure",
        "tables",
        "tracking",
    },
    "export": {
        "calibrators",
        "comparison",  # the one that a run is part of, for its card
        "data",
        "failures",
        "links",
        "metrics",
        "printable",
        "report",  # what it concludes, in its words
        "runs",
        "shift",  # reads the images of test again
        "tracking",  # settings of MLflow's client, which writes a model
        "trained_net",
    },
    # what a user imports stands above what it shows
    "api": {
        "arrays",
        "calibrators",
        "comparison",
        "config",  # losses by name, with their hyper-parameters checked
        "evaluation",
        "failures",
        "links",
        "metrics",
        "palette",
        "report",
        "runs",
        "tables",
        "tracking",  # runs of a store
        "trained_net",
    },
    "designs": {
        "comparison",  # chooses and decides as a report does
        "config",
        "failures",
        "runs",
        "tables",
    },
    "sweeps": {
        "config",
        "designs",
        "exit_codes",
        "failures",
        "links",  # tell which scores a loss can have
        "metrics",
        "process",
        "runs",
        "tables",
        "together",
        "tracking",
        "training",
    },
    "commands": {
        "addresses",
        "advice",
        "arguments",
        "printable",
        "certificates",
        "claims",
        "comparison",
        "config",
        "designs",  # how far a sweep is
        "embedding",
        "evaluation",
        "exit_codes",
        "export",
        "failures",
        "metrics",
        "prediction",
        "process",
        "report",
        "runs",
        "shift",
        "sweeps",
        "tables",
        "tracking",
        "training",
    },
}

# whoever needs one of these needs a reason: a library's place in the design
THEIRS = {
    "torch": {
        "api",  # losses for somebody's training
        "certificates",
        "commands",
        "conditions",
        "config",
        "corruptions",
        "data",
        "embedding",
        "export",
        "losses",
        "models",
        "optimizers",
        "prediction",
        "pretrained",
        "process",
        "randomness",
        "shift",
        "sweeps",
        "together",
        "trained_net",
        "training",
        "true_scores",
        "types",
    },
    "hydra": {"claims", "commands", "config", "designs", "sweeps"},
    "mlflow": {
        "export",  # a net in MLflow's own form
        "report",
        "tracking",
    },
    "pytorch_lightning": {"together", "tracking", "training"},
    "matplotlib": {"api", "evaluation", "report", "shown_figure"},
    "pandas": {"api"},
    "plotly": {"report"},
    "jinja2": {"report"},
    "torchvision": {"data", "models"},
    "sklearn": {"calibrators", "data"},
    "scipy": {
        *("calibrators", "certificates", "comparison", "conditions", "corruptions", "evaluation"),
        *("designs", "links", "metrics", "prediction"),
    },
    "safetensors": {"data", "export", "pretrained"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "datasets": {"data"},
    "huggingface_hub": {"data", "models"},
    "timm": {"models"},
    "optuna": {"designs"},
    "threadpoolctl": {"certificates"},
    "rich": {"commands", "sweeps", "tables", "training"},
    "pydantic": {"certificates", "claims", "config", "trained_net"},
}

# names of parts (a loss, a net, a set) that the harness must not know
PARTS = {"losses", "models", "optimizers", "schedules"}
FILES = sorted(PACKAGE.rglob("*.py"))


def path(file: Path) -> list[str]:
    """Names of the folders and of the module below the package, as in an import."""
    names = list(file.relative_to(PACKAGE).with_suffix("").parts)
    return names[:-1] if names[-1] == "__init__" else names


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


def graph() -> dict[str, set[str]]:
    """Each module of the package, and those of its modules that it imports."""
    names = {".".join(["xent_bench", *path(file)]): file for file in FILES}
    edges = {}
    for name, file in names.items():
        # `from package import name` is of the module, where the name is one
        targets = {
            target if target in names else target.rpartition(".")[0] for target in imports(file)
        }
        edges[name] = targets & names.keys() - {name}
    return edges


def top_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_what_the_table_allows(file):
    if file == PACKAGE / "__init__.py":
        ours = {name for name in imports(file) if not name.startswith("xent_bench.api.")}
        assert ours == {"importlib.import_module", "typing.TYPE_CHECKING", "typing.Any"}
        return
    for name in imports(file):
        top, _, rest = name.partition(".")
        if top == "xent_bench":
            assert rest.partition(".")[0] in {part(file), *OURS[part(file)]}, name
        elif top in THEIRS:
            assert part(file) in THEIRS[top], name


def test_the_table_names_every_module():
    assert {part(file) for file in FILES} - {"__init__"} == OURS.keys()


def test_the_harness_names_no_part():
    for module, allowed in OURS.items():
        if module not in PARTS:
            assert not allowed & PARTS, module


def test_no_modules_import_one_another_in_a_circle():
    """Imports within functions count: they only hide a circle. So do those for type checkers."""
    TopologicalSorter(graph()).prepare()  # a CycleError names the circle


def test_no_folders_import_one_another_in_a_circle():
    """A circle of folders is none of modules, and yet neither folder can be read first."""
    folders = {}
    for name, targets in graph().items():
        top = top_of(name)
        folders.setdefault(top, set()).update({top_of(target) for target in targets} - {top})

    TopologicalSorter(folders).prepare()


def test_losses_do_not_import_one_another():
    for file in (PACKAGE / "losses").glob("*.py"):
        assert not [name for name in imports(file) if name.startswith("xent_bench.losses")]


def test_the_names_of_what_is_reported_need_no_other_module():
    names = imports(PACKAGE / "metrics/reported.py")

    assert {name.partition(".")[0] for name in names} <= {"collections", "typing"}


def test_a_page_is_short():
    """One idea that reads from top to bottom; four pages that refer to each other are longer."""
    for file in FILES:
        assert len(file.read_text().splitlines()) <= 300, file


def test_no_file_is_a_drawer_for_anything():
    drawers = {"utils", "util", "common", "core", "helpers", "base", "components", "misc"}

    assert not [file for file in FILES if file.stem in drawers]
