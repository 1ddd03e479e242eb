"""xent-claim as it is typed: what it trains, prints, keeps and refuses."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, answer

from xent_bench.claims.declared import DECLARED
from xent_bench.commands import claim as command
from xent_bench.runs.files import RESULT
from xent_bench.runs.result import load_runs

DESIGN = {
    "setting": "data=synthetic data.n=200 model=linear epochs=1",
    "seeds": 2,
    "tuning": {"optimizer.lr": [0.1]},
    "published": {"optimizer.lr": 0.1},
}
PART = {"arm": "sparse", "against": "ce", "published": "test/nll", "fair": "test_ts/nll"}
CLAIM = {
    "claim": "Two formats of label are one loss, and mixup is another.",
    "sources": [{"authors": "Nobody", "year": 2020, "arxiv": "2001.00001", "title": "None"}],
    "shown_on": "nothing",
    "arms": {
        "ce": "loss=ce",
        "sparse": "loss=sparse_ce",
        "mixed": "loss=ce augmentation.mixup=0.4",
    },
    "sizes": {"cpu": DESIGN},
    "parts": [
        PART | {"says": "One loss", "expect": "same"},
        PART | {"says": "Another", "arm": "mixed", "expect": "worse", "margin": 0.001},
    ],
    "rules": {
        "replicated": "any_shown",
        "not_replicated": "all_refuted",
        "only_as_published": "fair_not_replicated",
    },
    "mechanism": "nothing",
}


def write_claim(root: Path, **changes) -> None:
    file = root / "my_conf" / "claims" / "mine.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(CLAIM | changes))


def type_claim(capsys, *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = answer(command.main, *map(str, words))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory, empty_store) -> Path:
    """A folder in which a claim of two sweeps was typed."""
    root = tmp_path_factory.mktemp("claims")
    write_claim(root)
    shutil.copy(empty_store, root / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr("sys.argv", ["xent-claim"])
        words = ("--config-dir", "my_conf", "mine", "machine.accelerator=cpu")
        assert answer(command.main, *words) == 0
    return root


@pytest.fixture
def place(trained, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, in which commands are typed."""
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    monkeypatch.chdir(root)
    monkeypatch.setattr("sys.argv", ["xent-claim"])
    return root


def test_a_claim_trains_its_design_and_keeps_its_rules_with_the_runs(trained):
    folder = trained / "runs" / "claim-mine"
    runs = load_runs(folder)
    rules = {run.tags["claim_rules"] for run in runs}
    declared = json.loads((folder / DECLARED).read_text())

    assert len(runs) == 3 * 2
    assert {run.tags["claim"] for run in runs} == {"mine"}
    assert len(rules) == 1
    assert rules.pop() == json.loads((folder / "verdict.json").read_text())["hash"]
    assert declared["versions"][0]["parts"][1]["margin"] == 0.001


def test_typed_again_it_trains_nothing_and_says_the_same(place, capsys):
    files = sorted((place / "runs").rglob(RESULT))
    before = [file.read_bytes() for file in files]
    words = ("--config-dir", "my_conf", "mine", "--format", "json")
    first, again = (type_claim(capsys, *words) for _ in range(2))

    assert first == again
    assert first[0] == 0
    assert "xent-train" not in first[2]
    assert [file.read_bytes() for file in files] == before
    record = json.loads(first[1])
    assert record["verdict"] == "replicated"
    (same, _), (same_fair, _) = record["parts"]["published"], record["parts"]["fair"]
    assert (same["verdict"], same["equal_pairs"]) == ("same", 2)
    assert same_fair["part"] == "shown"


def test_the_page_has_the_verdict_and_both_protocols(trained):
    page = (trained / "runs" / "claim-mine" / "claim.html").read_text()

    assert "Verdict: replicated. As published: replicated; fair: replicated." in page
    assert "mine, as published" in page
    assert "mine, fair" in page
    assert "sparse same as ce" in page
    assert "One loss (sparse same as ce). Another (mixed worse than ce)." in page
    assert "on ImageNet" in page
    assert "arXiv:2001.00001" in page


def test_an_edited_rule_is_printed_with_its_change(place, capsys):
    parts = [CLAIM["parts"][0], CLAIM["parts"][1] | {"margin": 0.5}]
    write_claim(place, parts=parts)
    code, out, _ = type_claim(capsys, "--config-dir", "my_conf", "mine")
    listed = type_claim(capsys, "--config-dir", "my_conf", "--format", "markdown")[1]
    flat = " ".join(out.split())

    assert code == 0
    assert "EDITED after the first run was asked for" in flat
    assert "parts.1.margin: 0.001 -> 0.5" in flat
    assert "6 runs of 6 were trained under other rules" in flat
    assert "| mine | replicated (rules edited) |" in listed


def test_without_all_runs_there_is_no_verdict(place, capsys):
    one, *_ = sorted((place / "runs" / "claim-mine").rglob(RESULT))
    shutil.rmtree(one.parent)
    code, out, _ = type_claim(capsys, "--config-dir", "my_conf", "mine", "--judge")

    assert code == 1
    assert "1 of 6 runs have no result yet" in out
    assert "xent-status runs/claim-mine says what is missing" in out
    assert "Verdict" not in out


def test_status_is_not_named_where_nothing_was_begun(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, _ = type_claim(capsys, "focal-calibrates", "--judge")

    assert code == 1
    assert "48 of 48 runs have no result yet" in out
    assert "xent-status" not in out
    assert "xent-claim focal-calibrates trains it." in out


@pytest.mark.usefixtures("place")
def test_a_list_has_whole_names(capsys):
    lines = type_claim(capsys, "--config-dir", "my_conf")[1].splitlines()

    assert any(
        line.startswith(" smoothing-calibrates-and-cannot-abstain not run") for line in lines
    )
    assert any(line.startswith(" mine ") and line.rstrip().endswith(" none") for line in lines)


def test_a_list_has_no_verdict_of_runs_that_were_removed(place, capsys):
    one, *_ = sorted((place / "runs" / "claim-mine").rglob(RESULT))
    shutil.rmtree(one.parent)
    type_claim(capsys, "--config-dir", "my_conf", "mine", "--judge")
    listed = type_claim(capsys, "--config-dir", "my_conf", "--format", "markdown")[1]

    assert "| mine | not run |" in listed


def test_json_without_a_verdict_is_json(place, capsys):
    one, *_ = sorted((place / "runs" / "claim-mine").rglob(RESULT))
    shutil.rmtree(one.parent)
    words = ("--config-dir", "my_conf", "mine", "--judge", "--format", "json")
    code, out, error = type_claim(capsys, *words)
    record = json.loads(out)

    assert code == 1
    assert (record["verdict"], record["missing"], record["runs"]) == (None, 1, 5)
    assert "1 of 6 runs have no result yet" in error


def test_runs_are_judged_where_a_machine_of_your_own_keeps_them(place, capsys):
    (place / "runs").rename(place / "scratch")
    file = place / "my_conf" / "machine" / "lab.yaml"
    file.parent.mkdir()
    file.write_text("defaults: [cpu]\nruns: scratch\n")
    words = ("--config-dir", "my_conf", "mine", "--judge")
    elsewhere, _, _ = type_claim(capsys, *words)
    quoted, _, _ = type_claim(capsys, *words, "machine.runs='scratch'")
    named, out, error = type_claim(capsys, *words, "machine=lab")

    assert (elsewhere, quoted, named) == (1, 0, 0)
    assert "Verdict: replicated." in out
    assert "Page: scratch/claim-mine/claim.html" in error


def test_a_deleted_or_damaged_record_of_the_rules_is_noticed(place, capsys):
    record = place / "runs" / "claim-mine" / DECLARED
    record.write_text(record.read_text().replace("0.001", "0.5"))
    code, _, damaged = type_claim(capsys, "--config-dir", "my_conf", "mine")
    record.unlink()
    _, deleted, _ = type_claim(capsys, "--config-dir", "my_conf", "mine")

    assert code == 3
    assert "claim.json, which holds the rules of before the first run" in damaged
    assert damaged.count("\n") == 1
    assert "their record was deleted" in " ".join(deleted.split())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("focal-calibrate", "no such claim; did you mean focal-calibrates or"),
        ("focal-calibrates epochs=3", "epochs: is fixed by the claim"),
        ("focal-calibrates seed=1", "seed: is fixed by the claim"),
        ("focal-calibrates size=tpu", "size=tpu: expected size=cpu or size=gpu"),
        ("focal-calibrates kl-beats-ce", "kl-beats-ce: one too many"),
        ("focal-calibrates --judg --page", "--page"),
        ("--judge", "--judge and --page: expected the name of a claim"),
        ("machine=nine --config-dir .", "the folder of runs: machine=nine: no such machine"),
        ("focal-calibrates --show machine.job=2", "machine.job: no such key"),
        ("focal-calibrates --config-dir nowhere", "no folder nowhere here"),
    ],
)
def test_a_mistake_is_one_line(words, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["xent-claim"])
    code, _, error = type_claim(capsys, *words.split())

    assert code == 2
    assert complaint in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_is_refused_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    write_claim(tmp_path, sizes={"cpu": DESIGN | {"setting": "data=fashion_mnist epochs=1"}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["xent-claim"])
    words = ("--config-dir", "my_conf", "mine", "data.root=nowhere", "machine.accelerator=cpu")
    code, _, error = type_claim(capsys, *words)

    assert code == 3
    assert "nowhere" in error
    assert [path.name for path in tmp_path.iterdir()] == ["my_conf"]


def test_show_names_the_commands_and_trains_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["xent-claim"])
    code, out, _ = type_claim(
        capsys, "mixup-calibrates", "--show", "size=gpu", "data.root=x", "data.download=true"
    )
    commands = [line for line in out.splitlines() if line.startswith("xent-train -m ")]

    assert code == 0
    assert len(commands) == 2
    assert all("data.root=x data.download=true" in line for line in commands)
    assert ["augmentation.mixup=0.2" in line for line in commands] == [False, True]
    assert list(tmp_path.iterdir()) == []


def test_the_example_of_your_own_claim_works(tmp_path, monkeypatch, capsys):
    page = (ROOT / "conf/claims/README.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    file = tmp_path / "my_conf" / "claims" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(example)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["xent-claim"])
    code, out, _ = type_claim(capsys, "--config-dir", "my_conf", "mine", "--show")

    assert code == 0
    assert "2 arms (ce and brier) x 3 values of optimizer.lr x 5 seeds: 30 runs." in out


def test_claims_are_no_choices_of_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["xent-train"])
    from xent_bench.commands import train

    answer(train.main, "--help")

    assert "claims" not in capsys.readouterr().out
