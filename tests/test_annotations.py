"""The name, the notes and the tags that a user gives to runs."""

import json
from contextlib import suppress

import pytest
from trained_run import mlflow_run

from xent_bench.commands import report, status
from xent_bench.config.annotations import TAKEN, TAKEN_ENDINGS, annotation_tags, user_tags
from xent_bench.config.configure import ConfigError, check_top_level
from xent_bench.config.identity import run_folder, run_key
from xent_bench.runs.files import RESULT
from xent_bench.training.run import run

TYPED = ("name=mine", "notes='first try: a=b'", "tags={team: vision, stage: 1}")


def test_a_name_decides_the_folder_and_not_the_key(composed):
    plain, named = composed(), composed(*TYPED)

    assert run_folder(named).parent.name == "mine"
    assert run_folder(plain).parent.name == "default"
    assert run_key(named) == run_key(plain)


def test_a_name_files_the_runs_of_a_kept_sweep_too(composed):
    kept = composed("experiment=quickstart")
    renamed = composed("experiment=quickstart", "name=mine")

    assert run_folder(kept).parent.name == "quickstart"
    assert run_folder(renamed).parent.name == "mine"


def test_notes_and_tags_are_in_the_folder_in_mlflow_and_in_what_is_printed(config, capsys):
    annotated = config(*TYPED)
    annotated.name = annotated.experiment
    run(annotated)
    folder = run_folder(annotated)

    stored = mlflow_run(annotated).data.tags
    for tags in (json.loads((folder / RESULT).read_text())["tags"], stored):
        assert user_tags(tags) == {"team": "vision", "stage": "1"}
        assert tags["notes"] == "first try: a=b"
    assert stored["mlflow.note.content"].startswith("first try: a=b\n\nTo reproduce")
    for command in (status, report):
        with suppress(SystemExit):
            command.main([str(folder.parent)])
        printed = capsys.readouterr().out
        assert "Notes: first try: a=b" in printed
        assert "Tags: team=vision; stage=1" in printed or "Tags: stage=1; team=vision" in printed
    own = {name for name in stored if name not in ("team", "stage")}
    assert {
        n for n in own if not n.startswith("mlflow.") and not n.endswith(TAKEN_ENDINGS)
    } <= TAKEN


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("name=a/b", "name: expected a folder's name, got 'a/b'"),
        ("name=.hidden", "name: expected a folder's name"),
        ("name=' '", "name: expected a folder's name, got ' '"),
        ("name=mlflow", "name: mlflow is the folder of MLflow's own files"),
        (f"name={'a' * 101}", "name: expected at most 100 characters, got 101"),
        ("tags={key: a}", "tags: 'key' is a tag that every run has already"),
        ("tags={loss_sha256: a}", "tags: 'loss_sha256' is a tag that every run has already"),
        ("tags={mlflow.user: a}", "tags: expected names of letters, digits"),
        ("tags={a: [1, 2]}", "tags: expected a text or a number as a, got"),
        ("tags=[a]", "tags: expected names and values, as in 'tags={team: vision}'"),
        (f"tags={{a: {'b' * 4001}}}", "tags: expected at most 4000 characters as a"),
        (f"notes={'b' * 4001}", "notes: expected at most 4000 characters, got 4001"),
    ],
)
def test_an_annotation_that_cannot_be_kept_is_refused(composed, override, complaint):
    with pytest.raises(ConfigError) as refusal:
        check_top_level(composed(override))

    assert str(refusal.value).startswith(complaint)


def test_runs_without_annotations_have_no_tags_of_them():
    assert annotation_tags(None, None) == {}
    assert user_tags({"key": "a"}) == {}
