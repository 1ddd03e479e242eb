"""Runs that are done, of code of the user's that was edited since: they are named, not trained."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL
from written_run import write_run

from xent_bench.config.code_hash import code_of, digest_of
from xent_bench.sweeps.changed_code import changed_since

COMMANDS = Path(sys.executable).parent
LOSS = '''
from torch.nn import functional as F
from xent_bench.types import Index, Logits, PerExample

def mine(logits: Logits, target: Index) -> PerExample:
    """Cross-entropy."""
    return 1.0 * F.cross_entropy(logits, target, reduction="none")
'''


@pytest.mark.parametrize(
    ("edit", "is_said"),
    [
        (lambda code: code, False),
        (lambda code: code.replace("Cross-entropy.", "-log p_y.") + "# the same\n", False),
        (lambda code: code.replace("1.0", "2.0"), True),
    ],
    ids=["nothing", "a comment", "the formula"],
)
def test_code_that_was_edited_is_named_and_its_comments_do_not_count(
    tmp_path, monkeypatch, edit, is_said
):
    module = tmp_path / f"edited_{is_said}_loss.py"
    module.write_text(LOSS)
    monkeypatch.syspath_prepend(tmp_path)
    target = f"{module.stem}.mine"
    tags = {"loss_sha256": digest_of(code_of(target))}
    folders = [write_run(tmp_path / "runs", target, seed, tags=tags) for seed in (0, 1)]
    folders.append(write_run(tmp_path / "runs", "ce", 0, tags={"loss_sha256": "of our own code"}))
    module.write_text(edit(LOSS))

    lines = changed_since(folders)
    assert len(lines) == is_said
    assert not is_said or lines[0].startswith(
        f"2 runs done before with other code of loss {target}"
    )
    assert module.stem not in sys.modules


def test_a_count_of_the_first_runs_is_said_to_be_one(tmp_path, monkeypatch):
    (tmp_path / "counted_loss.py").write_text(LOSS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("xent_bench.sweeps.changed_code.MOST", 2)
    tags = {"loss_sha256": "of other code"}
    folders = [write_run(tmp_path, "counted_loss.mine", seed, tags=tags) for seed in range(3)]

    assert changed_since(folders[:2])[0].startswith("2 runs done before")
    assert changed_since(folders)[0].startswith("at least 2 runs done before")


def test_code_that_is_not_there_is_not_called_other_code(tmp_path):
    tags = {"loss_sha256": "of other code"}

    assert changed_since([write_run(tmp_path, "removed_module.mine", 0, tags=tags)]) == []


def test_a_command_typed_again_after_its_loss_was_edited_says_so(tmp_path):
    module = tmp_path / "loss_of_a_user.py"
    module.write_text(LOSS)
    words = [*SMALL, "epochs=1", "loss._target_=loss_of_a_user.mine", "machine.offline=true"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    shown = []
    for content in (LOSS, LOSS, LOSS.replace("1.0", "2.0")):
        module.write_text(content)
        done = subprocess.run(
            [COMMANDS / "xent-train", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        shown.append(done.stdout)

    said = "1 run done before with other code of loss loss_of_a_user.mine"
    assert [said in page for page in shown] == [False, False, True]
    assert "nothing was trained" in shown[2]
