"""The FAQ says what its commands print: each is run again."""

import importlib.util
import re
import types
from pathlib import Path

import pytest
from conftest import ROOT

# a net that is trained on another processor may answer another image or two rightly
TRAINED = "28. How many epochs?"
WITHIN = {"rel": 0.25, "abs": 0.02}
NUMBER = re.compile(r"-?\d+\.\d+")


def load() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("faq", ROOT / "scripts" / "faq.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


faq = load()
PAGE = faq.PAGE.read_text()
QUESTIONS = {part.splitlines()[0]: part for part in faq.HEADING.split(PAGE)[1:]}


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_page_shows_what_its_commands_print(question: str, tmp_path: Path):
    shown = QUESTIONS[question]
    printed = "".join(faq.answers(shown, tmp_path))

    if TRAINED in question:
        numbers, trained = (list(map(float, NUMBER.findall(text))) for text in (shown, printed))
        assert trained == pytest.approx(numbers, **WITHIN)
        shown, printed = (NUMBER.sub("", text) for text in (shown, printed))
    assert printed == shown, "run scripts/faq"


def test_every_question_has_a_verdict_and_is_in_the_contents():
    contents = PAGE.partition("\n## ")[0]

    assert len(QUESTIONS) == 29
    for heading, part in QUESTIONS.items():
        assert re.search(
            r"^\*\*(Right|Half right|Wrong)\*\*[ ,]|^\*\*(Right|Half right|Wrong)\.\*\*", part, re.M
        )
        assert f"[{heading.removeprefix('### ')}](#" in contents


def test_a_changed_output_is_written_into_the_page(tmp_path: Path):
    page = "# A page\n\n### 1. Sum?\n\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"

    assert "".join(faq.answers(page, tmp_path)) == page.replace("3\n", "2\n")


def test_a_command_that_fails_is_named(tmp_path: Path):
    page = "### 1. Losses?\n\n```bash\nxent-losses focl\n```\n"

    with pytest.raises(RuntimeError, match=r"xent-losses focl\nended with 2: .*no such loss"):
        "".join(faq.answers(page, tmp_path))
