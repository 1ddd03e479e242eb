"""The README says what is: its commands, its losses, its links to files."""

import re
from pathlib import Path

from conftest import ROOT

from xent_bench.commands.losses import load_losses
from xent_bench.config.parts import checked
from xent_bench.config.schema import CONF
from xent_bench.metrics.reported import METRICS

README = (ROOT / "README.md").read_text()
LOSSES = sorted(file.stem for file in (CONF / "loss").glob("*.yaml"))


def test_the_tables_of_losses_are_the_folder():
    names = re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE)

    assert names == 2 * LOSSES


def test_every_command_composes(composed):
    commands = re.findall(r"^xent-train (.*?)\s*(?:#.*)?$", README, flags=re.MULTILINE)
    assert len(commands) >= 3

    for command in commands:
        overrides = [word for word in command.split() if word != "-m"]
        one_each = [re.sub(r"=([^,]+),.*", r"=\1", override) for override in overrides]
        checked(composed(*one_each))


def test_every_command_about_losses_finds_them():
    commands = re.findall(r"^xent-losses +(.*?)\s*(?:#.*)?$", README, flags=re.MULTILINE)
    assert len(commands) >= 2

    for command in commands:
        choice = command.partition("--")[0].split()
        names = [word for word in choice if "=" not in word]
        assert load_losses(names, [word for word in choice if "=" in word]).keys() >= set(names)


def test_every_link_and_script_exists():
    linked = re.findall(r"\]\(([^)#]+)\)", README)
    scripts = re.findall(r"scripts/[\w-]+(?:\.py)?", README)

    for path in [*linked, *scripts]:
        assert Path(ROOT, path).exists(), path


def test_the_example_of_a_loss_is_the_file():
    code = re.search(r"poly1.py`:\n\n```python\n(.*?)```", README, flags=re.DOTALL)[1]
    node = re.search(r"poly1.yaml`:\n\n```yaml\n(.*?)```", README, flags=re.DOTALL)[1]

    assert code == (ROOT / "xent_bench/losses/poly1.py").read_text()
    assert node == (CONF / "loss/poly1.yaml").read_text()


def test_the_table_of_metrics_names_what_is_scored():
    table = README.partition("## What is measured")[2].partition("\n\n**")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [key for cell in cells for key in re.findall(r"`(\w+)`", cell)]

    assert set(named) == METRICS.keys()
    assert len(named) == len(METRICS)


def test_the_table_of_costs_quotes_the_benchmarks():
    quoted = README.partition("### How fast")[2].partition("\n## ")[0]
    page = (ROOT / "scripts/benchmarks/README.md").read_text()
    cells = {
        row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]]
        for row in page.splitlines()
        if row.startswith("| ")
    }
    linear = cells["linear 784-10, batches of 64: xent_bench"][2]
    cnn = cells["small CNN, batches of 128: xent_bench"][2]
    ours, one_by_one, _ = cells["crop, flip, normalise"]
    sweep, commands = cells["40 runs in one sweep"]

    assert f"{float(linear):.2f} times the throughput" in quoted
    assert f"| {float(cnn):.2f} |" in quoted
    assert f"{float(ours):.1f} us | {one_by_one} us one by one" in quoted
    assert cells["MLflow, a run with 180 metrics"][0] in quoted
    assert f"{sweep} | {commands.partition(':')[0]}" in quoted
