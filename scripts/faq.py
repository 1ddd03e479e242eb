"""Answers by running: each command of the FAQ is run, and its output is written below it.

Blocks of Python and of shell commands are run in the order of the page. A block `text` that follows
one becomes what it prints; pictures that they save go to .github. `scripts/faq` writes the page,
and a test compares.
"""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from xent_bench.runs.whole_files import write_whole

PAGE = Path(__file__).resolve().parents[1] / "xent_bench/losses/FAQ.md"
PICTURES = PAGE.parents[2] / ".github"
HEADING = re.compile("(?=^### )", re.MULTILINE)
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```\n(\n```text\n(.*?)^```\n)?", re.M | re.S)
WIDTH = "100"  # columns of the terminal


def answers(page: str, pictures: Path) -> Iterator[str]:
    """Yield the page up to the first question, then each question with what its commands print.

    The commands of a question share a temporary folder; its pictures are copied to `pictures`.
    """
    before, *questions = HEADING.split(page)
    yield before
    for question in questions:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            yield BLOCK.sub(_with_output, question)
            for picture in Path().glob("*.png"):
                shutil.copy(picture, pictures)


def _with_output(block: re.Match[str]) -> str:
    language, code, shown, _ = block.groups()
    output = _of_python(code) if language == "python" else _of_shell(code)
    lines = "\n".join(line.rstrip() for line in output.strip("\n").splitlines())
    text = f"\n```text\n{lines}\n```\n" if shown else ""
    return f"```{language}\n{code}```\n{text}"


def _of_python(code: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, PAGE.name, "exec"), {"__name__": "__main__"})
    return output.getvalue()


def _of_shell(code: str) -> str:
    scripts = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": WIDTH,
    }
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(f"{code}ended with {ended.returncode}: {ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    write_whole(PAGE, "".join(answers(PAGE.read_text(), PICTURES)))
