"""xent-losses lists, explains and certifies losses, and refuses what it cannot."""

import csv
import importlib
import math
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from torch.nn import functional as F

from xent_bench.certificates.catalogue import formulas
from xent_bench.certificates.certify import certify
from xent_bench.certificates.overview import described
from xent_bench.certificates.remembered import certificate_of
from xent_bench.commands.losses import load_losses, main, show, show_overview
from xent_bench.config.configure import ConfigError
from xent_bench.tables import print_table
from xent_bench.types import Index, Logits, PerExample

LOSSES = load_losses([])


def test_without_a_name_the_command_says_in_short_what_every_loss_is_for(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["xent-losses"])
    main()
    lines = capsys.readouterr().out.splitlines()

    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(name for name in listed if name in LOSSES) == sorted(LOSSES)
    assert described() <= LOSSES.keys()
    assert len(lines) <= 60  # one and a half screens of 40 lines
    assert max(map(len, lines)) <= 100
    assert any("xent-losses NAME" in line for line in lines[-4:])


@pytest.mark.parametrize("words", [["--all"], ["--classes", "10"]])
def test_the_tables_of_all_losses_are_printed_on_request(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["xent-losses", *words])
    main()
    shown = capsys.readouterr().out

    assert "-sum_k q_k log p_k" in shown
    assert "Certificates" in shown


def test_what_scripts_read_has_every_loss_where_none_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["xent-losses", "--format", "csv"])
    main()

    records = csv.DictReader(capsys.readouterr().out.splitlines())
    assert {record["loss"] for record in records} == LOSSES.keys()


def test_a_loss_of_ones_own_is_listed_with_its_formula(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_twice.py").write_text(
        "from xent_bench.types import Index\n"
        "def twice(logits, target: Index):\n"
        "    '''2 (z_y)^2.'''\n"
    )
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "twice.yaml").write_text("_target_: own_twice.twice\n")
    monkeypatch.syspath_prepend(tmp_path)
    show_overview(tmp_path)

    assert re.search(r"^Others\n  twice +2 \(z_y\)\^2 *$", capsys.readouterr().out, re.MULTILINE)


def test_the_command_lists_changes_and_explains_a_loss(capsys):
    show(["focal", "loss.gamma=5"], None, 100, "table")
    shown = capsys.readouterr().out

    assert "-(1 - p_y)^gamma log p_y, gamma=5" in shown
    assert "for 100 classes" in shown
    assert "arXiv:1708.02002" in shown


def test_no_name_is_cut_in_a_table_of_100_columns(capsys):
    longest = max(LOSSES, key=len)
    show([longest], None, 10, "table")
    shown = capsys.readouterr().out

    assert shown.count(f"\n {longest} ") == 2
    assert max(len(line) for line in shown.splitlines()) <= 100


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        (["focl"], "focl: no such loss; did you mean focal?"),
        (["focal", "gce", "gamma=1"], "gce: loss.gamma: no such key; there is loss.q"),
        (["gce", "q=2"], "gce: loss.q: should be less than or equal to 1, got 2"),
        (["ce", "a=[1"], "ce: "),
        (["focal", "[=3"], "focal: "),
        (["focal", "gamma=???"], "focal: loss.gamma: has to be given"),
        (["gamma=5"], "gamma=5: of which loss? Expected a name before it"),
        (["loss=focl,ce"], "focl: no such loss"),
    ],
)
def test_the_command_refuses_a_mistake(choice, complaint):
    with pytest.raises(ConfigError) as refusal:
        show(choice, None, 10, "table")

    assert str(refusal.value).startswith(complaint)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("return logits.mean()", "ValueError: expected one value an example"),
        ("return logits[:, :1]", "ValueError: expected one value an example"),
        (
            "return logits.sum(1) * float('nan')",
            "expected a finite value at equal outputs, got nan",
        ),
        ("raise KeyError('x')", "KeyError: 'x'"),
        ("return None", "AttributeError"),
    ],
)
def test_a_broken_loss_is_refused_and_not_certified(tmp_path, monkeypatch, source, complaint):
    name = f"broken_{abs(hash(source))}"
    header = "from xent_bench.types import Index\ndef mine(logits, target: Index): "
    (tmp_path / f"{name}.py").write_text(header + source + "\n")
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text(f"_target_: {name}.mine\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match=re.escape(complaint)):
        show(["mine"], tmp_path, 10, "table")


@pytest.mark.parametrize("content", ["5", "- a", "a: 1", "", "_target_: [", "_target_: nowhere.f"])
def test_a_file_that_configures_no_loss_is_refused(tmp_path, content):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text(content)

    with pytest.raises(ConfigError, match=r"^mine: "):
        show(["mine"], tmp_path, 10, "table")


def test_a_loss_of_ones_own_may_not_take_the_name_of_one_of_ours(tmp_path):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "focal.yaml").write_text("_target_: mine.focal\n")

    with pytest.raises(ConfigError, match="focal is one of ours; call yours otherwise"):
        show(["focal"], tmp_path, 10, "table")


def test_brackets_in_a_formula_are_no_markup(capsys):
    def mine(logits: Logits, target: Index) -> PerExample:
        """-log p[y] with p[k] = softmax(z)[k]; see [/red]."""
        return F.cross_entropy(logits, target, reduction="none")

    print_table(formulas({"mine": partial(mine)}, "{}"))

    assert "-log p[y] with p[k] = softmax(z)[k]" in capsys.readouterr().out


def test_the_csv_says_what_was_certified(capsys):
    show(["focal", "gamma=5"], None, 10, "csv")
    (record,) = csv.DictReader(capsys.readouterr().out.splitlines())

    assert record["settings"] == "gamma=5"
    assert record["calibration"] == "under"


def test_the_command_certifies_a_loss_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def twice(logits, target: 'Index'):\n"
        "    '''2 (z_y)^2.'''\n"
        "    return 2 * logits.gather(1, target[:, None]).squeeze(1).square()\n"
        "from xent_bench.types import Index\n"
    )
    conf = tmp_path / "conf" / "loss"
    conf.mkdir(parents=True)
    (conf / "twice.yaml").write_text("_target_: mine.twice\n")
    command = [Path(sys.executable).with_name("xent-losses"), "--config-dir", "conf", "twice"]
    shown = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "2 (z_y)^2" in shown.stdout
    assert shown.stderr == ""


def test_a_certificate_is_computed_once_and_again_where_its_code_has_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("XENT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    source = (
        "from torch.nn import functional as F\n"
        "from xent_bench.types import Index, Logits, PerExample\n"
        "def scaled(logits: Logits, target: Index, *, by: float = 2.0) -> PerExample:\n"
        "    return by * F.cross_entropy(logits, target, reduction='none')\n"
    )
    (tmp_path / "remembered_loss.py").write_text(source)
    module = importlib.import_module("remembered_loss")
    computed = []

    def counted(loss, classes):
        computed.append(loss.keywords)
        return certify(loss, classes)

    monkeypatch.setattr("xent_bench.certificates.remembered.certify", counted)
    first = certificate_of(partial(module.scaled), 3)
    again = certificate_of(partial(module.scaled), 3)
    other = certificate_of(partial(module.scaled, by=4.0), 3)
    (file, _) = (tmp_path / "cache" / "certificates").iterdir()
    for damaged in (tmp_path / "cache" / "certificates").iterdir():
        damaged.write_text('{"target": 3}')
    repaired = certificate_of(partial(module.scaled), 3)
    (tmp_path / "remembered_loss.py").write_text(source + "scaled.edited = True\n")
    certificate_of(partial(module.scaled), 3)

    assert first == again == repaired == certify(partial(module.scaled), 3)
    assert other.at_uniform == 2 * first.at_uniform
    assert math.isinf(first.supremum)
    assert computed == [{}, {"by": 4.0}, {}, {}]
    assert file.suffix == ".json"
