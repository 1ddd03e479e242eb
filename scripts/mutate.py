"""Does a test notice when the code is wrong? Change one place at a time and see which tests fail.

    scripts/mutate 300          # so many places, drawn at random but always the same
    scripts/mutate 50 stats     # of one subject (see SUBJECTS)
    scripts/mutate 50 stats 1   # one at a time; else as many as there are processors

A place is a number, a comparison, a sign, an `and` or a sum; changed, a 2 is a 3 and a < is a <=.
If the subject's tests still pass, the change has survived and is printed as a diff of one line. It
needs a test, or, where it can make no difference to anybody, a line with the reason in
CHANGES_NOTHING below; it is then counted apart and not tried again.

Each is tried on a copy of the repository, in a fork of a process that has imported PyTorch and
pytest already: 3 to 6 seconds, a minute for `config`. pytest's options come from PYTEST_ADDOPTS.
"""

import ast
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from copy import deepcopy
from multiprocessing import Pool
from multiprocessing.pool import Pool as WorkerPool
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 240  # a trial may take; one that hangs is caught too
# files below xent_bench, and the tests that speak of them
SUBJECTS = {
    "losses": ("losses/*.py", "losses identities certificate losses_command"),
    "links": ("links.py", "links losses"),
    "metrics": ("metrics/*.py", "metrics calibration soft_labels ties posterior trust golden"),
    "calibrators": (
        "calibrators/*.py evaluation/recipe.py",
        "calibrators recipe soft_labels posterior calibration",
    ),
    "stats": (
        "comparison/stats.py comparison/still_falling.py comparison/trust.py",
        "stats trust golden comparison tuning",
    ),
    "comparison": (
        "comparison/contrasts.py comparison/tuning.py comparison/trials.py comparison/setting.py "
        "comparison/compare.py comparison/yardsticks.py comparison/control.py",
        "comparison tuning golden report",
    ),
    "data": (
        "data/split.py data/augment.py data/mixing.py data/resident.py data/batches.py "
        "data/image_set.py data/synthetic.py randomness.py",
        "data golden soft_labels posterior",
    ),
    "optimisation": ("schedules.py optimizers.py", "golden"),
    "config": (
        "config/schema.py config/identity.py config/configure.py config/targets.py ranges.py",
        "config without_pytorch golden",
    ),
}
# the last word of a file's path, its line as changed, and why no test can mind
CHANGES_NOTHING = {
    ("ranking.py", "if pairs <= 1e-09:"): "no two sums of hits multiply to exactly this",
    (
        "uncertainty.py",
        "if overconfidence >= band.overconfidence_high + NOTHING:",
    ): "means of floats never lie exactly on the bound",
    (
        "uncertainty.py",
        "by_sum = 2 * min((_tail(sign * float(ranked.gap.mean()), sign * self.overconfidence, "
        "_normal_tail) for sign in (2, -1)))",
    ): "value and draws are doubled together, and a tail has no unit",
    (
        "links.py",
        "support = (ordered * rank >= excess).sum(axis=1, keepdims=True)",
    ): "an output just on the edge of the support gets 0 within it and outside",
    (
        "recipe.py",
        "correct = rng.random((draws, len(order)), dtype=np.float32) <= right[order]",
    ): "a random number is never exactly the probability",
    (
        "recipe.py",
        "grid = np.linspace(log_refitted[1], log_refitted[-1] + 1e-09, 17)",
    ): "below the second smallest of 1000 the grid's first line goes straight on",
    (
        "recipe.py",
        "grid = np.linspace(log_refitted[0], log_refitted[-1] + 1e-09, 18)",
    ): "how fine a grid is, fine enough either way",
    (
        "recipe.py",
        "left = min(int(at), len(grid) + 2)",
    ): "the grid ends beyond the largest, so this bound is never met",
    (
        "contrasts.py",
        "first, second = (one, other) if raw.better * before >= 0 else (other, one)",
    ): "before is not 0 where its product with another number is below 0",
    ("recipe.py", "NODES = 42"): "how fine a grid is, fine enough either way",
    (
        "recipe.py",
        "unknown |= sums > slope.expected[-1]",
    ): "only rounding makes them equal, where the error is above UNKNOWN already",
    (
        "temperature.py",
        "if _slope(low, u, margin) > 0:",
    ): "where the slope is 0 at the bound, brentq returns the bound",
    ("schedules.py", "if step <= warm:"): "both lines give 1 at that step",
    (
        "still_falling.py",
        "return mean if tests * p <= LEVEL else None",
    ): "a p of a continuous distribution is never exactly the level",
}
PAIRS = "Add Sub, Mult Div, Lt LtE, Gt GtE, Eq NotEq, In NotIn, And Or, Is IsNot"
SWAPS: dict[type[ast.AST], type[ast.AST]] = {ast.Pow: ast.Mult, ast.Mod: ast.Add}
for pair in PAIRS.split(", "):
    one, other = (getattr(ast, name) for name in pair.split())
    SWAPS |= {one: other, other: one}


Trial: TypeAlias = tuple[str, Path, int, str | None]  # subject, file, line and source, if changed


def mutations(file: Path) -> Iterator[tuple[int, str]]:
    """The line of each place that can be changed, and the whole source with it changed."""
    tree = ast.parse(file.read_text())
    places = [node for node in ast.walk(tree) if _can_change(node)]
    skipped = {id(part) for node in ast.walk(tree) for part in _no_arithmetic(node)}
    for number, node in enumerate(places):
        if id(node) in skipped:
            continue
        changed = deepcopy(tree)
        twin = [other for other in ast.walk(changed) if _can_change(other)][number]
        _change(twin)
        yield node.lineno, ast.unparse(ast.fix_missing_locations(changed))


def _can_change(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not | ast.USub)
    if isinstance(node, ast.Compare):
        return len(node.ops) == 1
    return isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS


def _no_arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    """Annotations, whose `|` and numbers are types."""
    for field in ("annotation", "returns"):
        part = getattr(node, field, None)
        if part is not None:
            yield from ast.walk(part)


def _change(node: ast.AST) -> None:
    if isinstance(node, ast.Constant):
        node.value = node.value + 1
    elif isinstance(node, ast.Compare):
        node.ops = [SWAPS[type(node.ops[0])]()]
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
        if isinstance(node.op, ast.Not):
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = SWAPS[type(node.op)]()


def drawn(number: int, only: str | None) -> list[Trial]:
    """Draw mutations at random: subject, file, line and source; the same at every call."""
    every = [
        (subject, file, line, source)
        for subject, (patterns, _) in SUBJECTS.items()
        if only in (None, subject)
        for pattern in patterns.split()
        for file in sorted((ROOT / "xent_bench").glob(pattern))
        for line, source in mutations(file)
    ]
    return random.Random(0).sample(every, min(number, len(every)))


def is_caught(trial: Trial) -> bool:
    """Whether a test of the subject fails, or never ends, with the mutation in place."""
    subject, file, _, source = trial
    copy = Path(tempfile.mkdtemp())
    try:
        for folder in ("xent_bench", "conf", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, copy)
        shutil.copytree(ROOT / "scripts", copy / "scripts")
        if source is not None:
            (copy / file.relative_to(ROOT)).write_text(source)
        tests = [f"tests/test_{name}.py" for name in SUBJECTS[subject][1].split()]
        return _fails(copy, tests)
    finally:
        shutil.rmtree(copy)


def _fails(copy: Path, tests: list[str]) -> bool:
    child = os.fork()
    if child == 0:
        try:
            _test(copy, tests)
        finally:
            os._exit(1)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _test(copy: Path, tests: list[str]) -> None:
    os.setpgid(0, 0)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    os.environ["GIT_DIR"], os.environ["GIT_WORK_TREE"] = str(ROOT / ".git"), str(copy)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(copy), str(copy / "tests")]
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    import pytest

    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])))


def preload() -> None:
    """Import what every trial needs and none changes; of pytest's plugins it must do so itself."""
    import optax  # noqa: F401
    import pydantic  # noqa: F401
    import pytest  # noqa: F401
    import pytorch_lightning  # noqa: F401
    import scipy.stats  # noqa: F401
    import statsmodels.api  # noqa: F401
    import torch
    import torchmetrics  # noqa: F401

    torch.set_num_threads(1)


def changed_line(trial: Trial) -> tuple[str, str]:
    """The line before and after, without comments and in `ast.unparse`'s form."""
    _, file, _, source = trial
    before = ast.unparse(ast.parse(file.read_text())).splitlines()
    pairs = zip(before, (source or "").splitlines(), strict=False)
    one, other = next(pair for pair in pairs if pair[0] != pair[1])
    return one.strip(), other.strip()


def report(trial: Trial, reason: str = "") -> None:
    """Print what was changed, and the reason for which it changes nothing, if there is one."""
    subject, file, line, _ = trial
    before, after = changed_line(trial)
    print(f"{file.relative_to(ROOT)}:{line} ({subject})\n  - {before}\n  + {after}")
    if reason:
        print(f"  changes nothing: {reason}")
    sys.stdout.flush()


def failing_as_it_is(subjects: set[str], pool: WorkerPool) -> list[str]:
    """Subjects whose tests fail without any mutation: what they catch would prove nothing."""
    unchanged = [(subject, ROOT / "xent_bench/types.py", 0, None) for subject in sorted(subjects)]
    caught = pool.map(is_caught, unchanged)
    return [trial[0] for trial, fails in zip(unchanged, caught, strict=True) if fails]


def main() -> None:
    """Try them, and print what survives."""
    parser = ArgumentParser(description="Print each small change of the code that no test notices.")
    parser.add_argument("number", type=int, nargs="?", default=300)
    parser.add_argument("subject", choices=[*SUBJECTS], nargs="?")
    parser.add_argument("processes", type=int, nargs="?", default=os.cpu_count())
    asked = parser.parse_args()
    trials, excused = [], 0
    for trial in drawn(asked.number, asked.subject):
        reason = CHANGES_NOTHING.get((trial[1].name, changed_line(trial)[1]))
        if reason is None:
            trials.append(trial)
        else:
            excused += 1
            report(trial, reason)
    preload()
    survivors = 0
    with Pool(asked.processes) as pool:
        failing = failing_as_it_is({trial[0] for trial in trials}, pool)
        if failing:
            sys.exit(f"the tests of {', '.join(failing)} fail without any mutation")
        results = zip(trials, pool.imap(is_caught, trials), strict=True)
        for tried, (trial, caught) in enumerate(results, start=1):
            print(f"{tried} of {len(trials)}", end="\r", file=sys.stderr)
            if not caught:
                survivors += 1
                report(trial)
    print(
        f"{len(trials) + excused} mutations: {excused} change nothing, "
        f"{len(trials) - survivors} caught, {survivors} survived"
    )


if __name__ == "__main__":
    main()
