"""What is printed: on narrow terminals, in encodings without arrows, and to nobody."""

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from conftest import SMALL
from written_run import write_run

from xent_bench.commands import report, status
from xent_bench.exit_codes import Exit
from xent_bench.runs.files import set_pending

COMMANDS = Path(sys.executable).parent
SPACED = "two words/a'b"


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    """Runs of five losses with names of up to 20 letters, three seeds each."""
    for place, loss in enumerate(("ce", "mse", "focal", "margin_smoothing", "confidence_penalty")):
        for seed in range(3):
            write_run(tmp_path / "runs", loss, seed, 0.01 * place + 0.001 * seed * (-1) ** place)
    return tmp_path / "runs"


def on_a_terminal(columns: int, *command: object) -> str:
    """What a command prints on a terminal that is so many columns wide."""
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    words = [str(word) for word in command]
    process = subprocess.Popen(
        words, stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    content = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the command has ended
            break
        if not part:
            break
        content += part
    process.wait()
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", content.decode()).replace("\r", "")


@pytest.mark.parametrize("columns", [80, 60])
def test_a_report_fits_the_terminal_and_never_cuts_a_number(compared, columns):
    shown = on_a_terminal(columns, COMMANDS / "xent-report", compared)

    assert [line for line in shown.splitlines() if len(line) > columns] == []
    assert re.findall(r"confidence_penalty +3 ", shown)
    wide = on_a_terminal(200, COMMANDS / "xent-report", compared)
    numbers = [re.findall(r"[-+]?\d+\.\d+±\d+\.\d+", text) for text in (shown, wide)]
    assert len(numbers[0]) > 20
    assert sorted(numbers[0]) == sorted(numbers[1])


def test_the_legend_is_shown_on_request(compared, capsys):
    report.main([str(compared)])
    brief = capsys.readouterr().out
    report.main([str(compared), "--legend"])
    full = capsys.readouterr().out

    assert "More: --legend" in brief
    assert "This tests one column; verdicts are corrected" not in brief
    assert "This tests one column; verdicts are corrected" in full.replace("\n", " ")
    assert len(full) > len(brief) + 500


def test_what_an_encoding_lacks_costs_no_result(tmp_path):
    train = [COMMANDS / "xent-train", "-m", *SMALL, "epochs=1", "seed=0,1", "machine.offline=true"]
    shows = [[COMMANDS / name] for name in ("xent-report", "xent-status")]
    for command, encoding in [(train, "ascii"), *((show, "latin-1") for show in shows)]:
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        assert done.stdout.decode(encoding)
    assert len(list(tmp_path.rglob("result.json"))) == 2


@pytest.mark.parametrize("redirection", [">&- 2>&-", "> /dev/full"])
def test_a_run_whose_lines_nobody_can_read_is_trained(tmp_path, redirection):
    words = [str(COMMANDS / "xent-train"), *SMALL, "epochs=1", "machine.offline=true"]
    command = f"{shlex.join(words)} {redirection}"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=False)

    assert len(list(tmp_path.rglob("result.json"))) == 1


@pytest.mark.parametrize("words", ["xent-losses ce", "xent-data data=digits", "xent-report ."])
def test_a_page_that_a_full_disk_cannot_take_is_one_line(tmp_path, words):
    write_run(tmp_path, "ce", 0)
    program, *rest = words.split()
    command = f"{shlex.join([str(COMMANDS / program), *rest])} > /dev/full"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == Exit.UNAVAILABLE
    assert done.stderr.splitlines()[-1] == f"{program}: [Errno 28] No space left on device"
    assert "Traceback" not in done.stderr


def test_a_printed_command_can_be_pasted_where_a_folder_has_a_space(tmp_path, capsys):
    folder = write_run(tmp_path / SPACED, "ce", 0)
    set_pending(folder)
    with pytest.raises(SystemExit):
        status.main([str(tmp_path / SPACED)])

    (line,) = [line for line in capsys.readouterr().out.splitlines() if "xent-sync" in line]
    typed = shlex.split(line.partition(": ")[2])
    assert typed == ["xent-sync", str(folder.parent)]
    assert Path(typed[1]).is_dir()


def test_the_commands_at_a_sweeps_end_can_be_pasted(tmp_path):
    words = ["-m", *SMALL, "epochs=1", "seed=0,1", "machine.offline=true", "machine.runs='a b'"]
    done = subprocess.run(
        [COMMANDS / "xent-train", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    typed = [line.partition(": ")[2] for line in done.stdout.splitlines() if ": xent-" in line]
    assert typed
    for command in typed:
        assert (tmp_path / shlex.split(command)[1]).is_dir(), command
