"""The pages say what is: their commands, tables, examples, links and the files that they name."""

import argparse
import os
import pkgutil
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from xent_bench.claims.judge import (
    INCONCLUSIVE,
    NOT_REPLICATED,
    ONLY_AS_PUBLISHED,
    REPLICATED,
)
from xent_bench.claims.read import claim_files, read_claim
from xent_bench.commands import (
    advise,
    claim,
    data,
    embed,
    export,
    losses,
    predict,
    rescore,
    status,
    sync,
    ui,
)
from xent_bench.commands.losses import load_losses
from xent_bench.config.choices import owners
from xent_bench.config.configure import configured
from xent_bench.config.identity import run_folder
from xent_bench.config.of_one_loss import of_one_loss
from xent_bench.config.own_code import with_own
from xent_bench.config.parts import checked
from xent_bench.config.schema import CONF, Machine, Train, register_schema
from xent_bench.exit_codes import Exit
from xent_bench.metrics.reported import METRICS, PREFIXES
from xent_bench.report import options

FOLDERS = [ROOT / name for name in ("conf", "xent_bench", "scripts")]
CONTRIBUTING, CHANGELOG, SECURITY = (
    ROOT / ".github" / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY")
)
READMES = [ROOT / "README.md", *sorted(f for top in FOLDERS for f in top.rglob("README.md"))]
FAQ = ROOT / "xent_bench/losses/FAQ.md"
PAGES = [*READMES, CONTRIBUTING, CHANGELOG, SECURITY, FAQ]
# lines that a script writes, whose tables have long notes
GENERATED = re.compile(r"<!-- (?:scripts/certify|error rates).*?<!-- end", re.DOTALL)
PARSERS: dict[str, Callable[[list[str]], argparse.Namespace]] = {
    "xent-status": status._parser().parse_args,
    "xent-report": options.parser().parse_args,
    "xent-losses": losses._parser().parse_intermixed_args,
    "xent-rescore": rescore._parser().parse_args,
    "xent-sync": sync._parser().parse_args,
    "xent-ui": ui._parser().parse_args,
    "xent-data": data._parser().parse_intermixed_args,
    "xent-embed": embed._parser().parse_intermixed_args,
    "xent-advise": advise._parser().parse_intermixed_args,
    "xent-claim": claim._parser().parse_intermixed_args,
    "xent-predict": predict._parser().parse_intermixed_args,
    "xent-export": export._parser().parse_intermixed_args,
}


def title(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=title)
every_readme = pytest.mark.parametrize("page", READMES, ids=title)


def text(folder: str) -> str:
    """The page of a folder."""
    return (ROOT / folder / "README.md").read_text()


def blocks(page: str, language: str = r"\w*") -> list[str]:
    """The contents of the page's blocks of code."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def commands(page: Path, script: str = "xent-[a-z]+") -> list[list[str]]:
    """The words of every command of ours, in blocks of code and between backticks."""
    content = page.read_text()
    scripts = [re.sub(r"\\\n\s*", "", block) for block in blocks(content, "bash")]
    # of a pipe the first command may be ours
    lines = [line.partition(" | ")[0] for script in scripts for line in script.splitlines()]
    inline = re.findall(r"`(xent-[a-z]+ [^`]+)`", re.sub(r"\s*\n\s*", " ", prose(content)))
    typed = [shlex.split(line, comments=True) for line in [*lines, *inline] if is_command(line)]
    return [words for words in typed if re.fullmatch(script, words[0])]


def is_command(line: str) -> bool:
    return re.match(r"xent-[a-z]+( [^|=;]|$)", line) is not None


def table(folder: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first heading this is, row by row."""
    _, head, rows = text(folder).partition(f"\n| {heading} |")
    assert head, heading
    lines = rows.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names(folder: str, heading: str) -> list[str]:
    """What is named between backticks in the first cells of that table."""
    cells = [row[0] for row in table(folder, heading)]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


@every_page
def test_every_command_that_trains_composes(page, composed):
    for words in commands(page, "xent-train"):
        overrides = [word for word in words[1:] if word not in ("-m", "--help")]
        own = "--config-dir" in words or any("my_module" in word for word in words)
        if own or not all("=" in word for word in overrides):
            continue  # see the examples below
        # the files of weights that a reader has are not here
        elsewhere = ("hydra", "model.weights=")
        ours = [override for override in overrides if not override.startswith(elsewhere)]
        checked(composed(*filter(None, map(first_value, ours))))


def first_value(word: str) -> str | None:
    """A sweep's override with its first value; None for a key that only runs of one loss have."""
    if one := of_one_loss(word.partition("=")[0]):
        assert f"loss={one.loss}" in owners(one.key), word
        return None
    override = OverridesParser.create().parse_override(word)
    if override.is_interval_sweep():
        return f"{override.key_or_group}={override.value().start}"
    return re.sub(r"=([^,\[{]+),.*", r"=\1", word)


def test_the_class_of_a_net_in_the_page_is_built_by_the_command_below_it(
    composed, tmp_path, monkeypatch
):
    source = next(
        block for block in blocks(text("xent_bench/models"), "python") if "MyNet" in block
    )
    (tmp_path / "my_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_module", raising=False)
    commands_of_nets = commands(ROOT / "xent_bench/models/README.md", "xent-train")
    (words,) = [words for words in commands_of_nets if "my_module" in " ".join(words)]
    net = configured(checked(composed(*with_own(words[1:]))), "model")((1, 8, 8), 10)

    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert net.head.in_features == 64


@every_page
def test_every_command_about_losses_finds_them(page):
    for words in commands(page, "xent-losses"):
        if "--config-dir" in words:
            continue
        choice = PARSERS["xent-losses"](words[1:]).choice
        names = [word for word in choice if "=" not in word]
        assert load_losses(names, [word for word in choice if "=" in word]).keys() >= set(names)


@every_page
def test_every_other_command_is_understood(page):
    for script, *words in commands(page):
        if script in PARSERS:
            optional = [word.strip("[]") for word in words if word not in ("...", "...]")]
            PARSERS[script](optional)
        else:
            assert script == "xent-train", script


def test_the_pages_show_commands_of_every_kind():
    scripts = {words[0] for page in READMES for words in commands(page)}

    assert scripts == {"xent-train", *PARSERS}


@every_page
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", prose(page.read_text())):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


def anchors(page: str) -> set[str]:
    """What the headings of a page are called in an address."""
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", [*READMES, CONTRIBUTING], ids=title)
def test_every_file_and_module_that_a_page_names_exists(page):
    content = page.read_text()
    for path in re.findall(r"(?<![\w/.])(?:scripts|tests|conf|xent_bench)/[\w./-]*\w", content):
        assert "NAME" in path or Path(ROOT, path).exists(), path
    for name in re.findall(r"xent_bench(?:\.\w+)+", content):
        pkgutil.resolve_name(name)


@every_readme
def test_a_page_begins_with_something_to_type(page):
    assert "```" in "\n".join(page.read_text().splitlines()[:15])


@every_readme
def test_the_lines_of_a_page_are_short(page):
    """A hundred columns, but for tables, what a script writes, and code that is typed as a line."""
    content = GENERATED.sub("", page.read_text().partition("\n## A step of training\n")[0])
    lines = [line for line in prose(content).splitlines() if not line.startswith(("|", "!["))]

    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize(("page", "most"), [(ROOT / "README.md", 150), (CONTRIBUTING, 40)])
def test_the_first_pages_are_short_altogether(page, most):
    lines = page.read_text().splitlines()

    assert len(lines) <= most
    assert max(map(len, lines)) <= 100


def test_the_first_page_leads_to_every_other():
    front = (ROOT / "README.md").read_text() + CONTRIBUTING.read_text().replace("](../", "](")

    for page in READMES[1:]:
        assert f"({title(page)}" in front, page


def test_the_tables_of_losses_are_the_folder():
    rows = re.findall(r"^\| `(\w+)` \|", text("xent_bench/losses"), flags=re.MULTILINE)

    assert rows == 2 * choices("loss")


def test_the_example_of_a_loss_is_the_file():
    page = text("xent_bench/losses")
    code = re.search(r"poly1.py`:\n\n```python\n(.*?)```", page, flags=re.DOTALL)[1]
    node = re.search(r"poly1.yaml`:\n\n```yaml\n(.*?)```", page, flags=re.DOTALL)[1]

    assert code == (ROOT / "xent_bench/losses/poly1.py").read_text()
    assert node == (CONF / "loss/poly1.yaml").read_text()


@pytest.mark.parametrize(
    ("folder", "group"), [("losses", "loss"), ("data", "data"), ("models", "model")]
)
def test_the_example_of_your_own_part_works(folder, group, tmp_path, monkeypatch):
    """The page's module and YAML in the places that it names, as its command finds them."""
    page = text(f"xent_bench/{folder}").partition("## Add one")[2]
    module = next(code for code in blocks(page, "python") if re.search(r"^def my_", code, re.M))
    node = next(code for code in blocks(page, "yaml") if "my_module" in code)
    name = re.search(r"my_module\.(\w+)", node)[1]
    (tmp_path / f"my_module_{group}.py").write_text(module)
    file = tmp_path / "my_conf" / group / f"{name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(node.replace("my_module", f"my_module_{group}"))
    monkeypatch.syspath_prepend(tmp_path)
    (train,) = [
        words
        for words in commands(ROOT / "xent_bench" / folder / "README.md", "xent-train")
        if "--config-dir" in words and "-m" not in words
    ]
    assert f"{group}={name}" in train

    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        search = f"hydra.searchpath=[file://{tmp_path / 'my_conf'}]"
        settled = checked(compose("train", [search, *train[3:]]))

    assert f"my_conf/{group}/{name}.yaml" in page
    assert settled[group].keys() >= set(OmegaConf.create(node)) - {"_target_"}


def test_the_example_of_your_own_sweep_works(tmp_path):
    (example,) = blocks(text("conf"), "yaml")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(example)

    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        search = f"hydra.searchpath=[file://{tmp_path}]"
        settled = checked(compose("train", [search, "experiment=mine"]))

    assert (settled.experiment, settled.epochs) == ("mine", 5)


def test_the_table_of_metrics_names_what_is_scored():
    named = names("xent_bench/metrics", "keys of `test/`")

    assert set(named) == METRICS.keys()
    assert len(named) == len(METRICS)


def test_the_table_of_prefixes_names_every_calibrator():
    named = names("xent_bench/metrics", "prefix of a key")

    assert {f"{prefix}/" for prefix in PREFIXES.values()} < set(named)


@pytest.mark.parametrize(
    ("folder", "heading", "group"),
    [("xent_bench/data", "set", "data"), ("xent_bench/models", "net", "model")],
)
def test_a_table_of_parts_is_the_folder(folder, heading, group):
    assert sorted(names(folder, heading)) == [f"{group}={name}" for name in choices(group)]


def test_the_table_of_experiments_is_the_folder():
    assert sorted(names("conf/experiment", "experiment")) == choices("experiment")


def test_the_tables_of_keys_are_the_schema(composed):
    config = composed()
    for heading, keys, defaults in (
        ("key", Train, config),
        ("key of `machine`", Machine, config.machine),
    ):
        rows = table("conf", heading)
        named = [row[0].strip("`") for row in rows]
        assert set(named) == {field.name for field in fields(keys)} - {"machine"}
        for name, default, _ in rows:
            value = OmegaConf.to_container(defaults)[name.strip("`")]
            if not isinstance(value, dict):
                assert default == f"`{shown(value)}`", name


def shown(value: object) -> str:
    """A value as YAML and the pages show it."""
    value = getattr(value, "name", value)
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def test_the_table_of_scripts_names_each():
    scripts = {
        f.name for f in (ROOT / "scripts").iterdir() if f.is_file() and os.access(f, os.X_OK)
    }

    assert set(names("scripts", "script")) == {f"scripts/{name}" for name in scripts}


def test_the_net_to_take_along_is_one_of_the_quickstart(composed):
    folder = run_folder(composed("experiment=quickstart", "loss=ce", "seed=0"))

    assert f'load("{folder}")' in text("xent_bench/trained_net")


def test_two_pages_show_the_same_table_of_the_quickstart():
    rows = re.findall(r"^\| \w+ \| 3 \|.*\n", (ROOT / "README.md").read_text(), flags=re.MULTILINE)

    assert len(rows) == 5
    assert "".join(rows) in text("conf/experiment")


def test_the_first_page_tells_the_verdicts_of_the_page_of_claims():
    told = table("conf/claims", "claim | verdict")
    seeds = {name: read_claim(file).sizes["cpu"].seeds for name, file in claim_files(None).items()}

    assert [row[0].strip("`") for row in told] == names("conf/claims", "claim | in words")
    assert {row[0].strip("`"): int(row[4]) for row in told} == seeds
    assert [row[:2] + row[3:] for row in table(".", "claim | verdict")] == [
        [name, verdict, number, time] for name, verdict, _, _, number, _, time, _ in told
    ]


@pytest.fixture(scope="module")
def benchmarks() -> dict[str, list[str]]:
    """The cells of the measured tables by the first one of a row."""
    lines = text("scripts/benchmarks").partition("\n## ")[2].splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| ")]
    return {row[1].strip(): [cell.strip() for cell in row[2:-1]] for row in rows}


def test_the_table_of_costs_quotes_the_benchmarks(benchmarks):
    quoted = text("scripts/benchmarks").partition("\n## ")[0]
    linear = benchmarks["linear 784-10, batches of 64: xent_bench"][2]
    cnn = benchmarks["small CNN, batches of 128: xent_bench"][2]
    ours, one_by_one, _ = benchmarks["crop, flip, normalise"]
    sweep, one_each = benchmarks["40 runs in one sweep"]
    run, client = benchmarks["MLflow, a run with 180 metrics"]

    assert f"{float(linear):.2f} times the throughput" in quoted
    assert f"| {float(cnn):.2f} |" in quoted
    assert f"{float(ours):.1f} us | {one_by_one} us one by one" in quoted
    assert f"| {run} | {client.partition('client: ')[2]}: the least" in quoted
    assert f"{sweep} | {one_each.partition(':')[0]}" in quoted


def test_the_costs_of_metrics_quote_the_benchmarks(benchmarks):
    for name, *cells in table("xent_bench/metrics", "50,000 x 1,000 outputs"):
        measured = name.replace("five of them by", "the same five by")
        assert cells == benchmarks[f"50,000 x 1,000: {measured}"], name


def test_the_costs_of_settings_quote_the_benchmarks(benchmarks):
    quoted = re.sub(r"\s+", " ", text("conf"))

    assert f"without it {benchmarks['machine.deterministic=false'][0]} of" in quoted
    assert f"bf16 gives {benchmarks['precision=bf16'][0]} times" in quoted
    assert f"two threads give {benchmarks['machine.threads=2'][0]} times" in quoted


def test_the_table_of_exit_codes_has_each_of_them():
    page = (ROOT / "conf/README.md").read_text()
    table = page.partition("## Exit codes")[2].partition("\n\nA sweep")[0]
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)]

    assert codes == list(Exit)


def test_the_verdict_of_a_claim_has_one_name_on_all_pages():
    told = {row[1] for row in table("conf/claims", "claim | verdict")}
    verdicts = {REPLICATED, NOT_REPLICATED, INCONCLUSIVE, ONLY_AS_PUBLISHED}

    assert told <= verdicts
    assert f"*{ONLY_AS_PUBLISHED}*" in text("conf/claims")
    assert f"xent-claim: {ONLY_AS_PUBLISHED}" in text("xent_bench/comparison")
    help_of_claim = " ".join(claim._parser().format_help().split())
    assert all(verdict in help_of_claim for verdict in verdicts)
