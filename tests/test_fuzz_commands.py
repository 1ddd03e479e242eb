"""Anything can be typed, and stand in a YAML file: the answer is an exit code, never a traceback.

XENT_BENCH_FUZZ=2000 tries ten times as many inputs, and prints how many ended with which code.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml
from conftest import answer
from hypothesis import HealthCheck, configuration, given, settings
from hypothesis import strategies as st

from xent_bench.commands import report, status, sync, train
from xent_bench.config.schema import CONF, GROUPS
from xent_bench.exit_codes import Exit

INPUTS = int(os.environ.get("XENT_BENCH_FUZZ", "200"))
CODES: Counter[str] = Counter()
ALLOWED = {Exit.DONE, Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE, Exit.DIVERGED}
configuration.set_hypothesis_home_dir(tempfile.mkdtemp())


def share(part: float) -> settings:
    """Settings for a part of the inputs, the same in every run of the tests."""
    return settings(
        max_examples=max(1, round(part * INPUTS)),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


CHOICES = [f"{file.parent.name}={file.stem}" for file in sorted(CONF.glob("*/*.yaml"))]
KEYS = [
    *GROUPS,
    *("seed", "epochs", "batch_size", "accumulate", "clip_norm", "precision", "calibrator"),
    *(
        "name",
        "notes",
        "tags",
        "experiment",
        "augmentation",
        "augmentation.mixup",
        "augmentation.cutout",
        "machine",
    ),
    *("machine.devices", "machine.jobs", "machine.runs", "machine.checkpoint_minutes"),
    *("machine.most_runs", "machine.compile", "machine.accelerator", "machine.retries"),
    *("loss._target_", "loss.gamma", "data.n", "data.root", "data.flip", "model.width", "loss.q"),
    *("optimizer.lr", "optimizer.beta1", "schedule.warmup", "lr", "nope", "loss.nope", "hydra"),
    *(
        "trials",
        "sampler",
        "sampler_seed",
        "ema",
        "loss.focal.gamma",
        "loss.ce.x",
        "loss.focl.gamma",
    ),
    *("hydra.mode", "hydra/launcher", "hydra.sweeper.params", "hydra.run.dir", "defaults", "a.b.c"),
]
VALUES = [
    *("0", "1", "2", "-1", "0.5", "1e-3", '"1e-3"', "1e400", "inf", "-inf", "nan", "1_000", "0x10"),
    *("9" * 30, "9" * 5000, "true", "off", "no", "null", "None", "~", "", " ", "''", '""', "???"),
    *("ce", "focal", "digits", "gpu", "cpu", "bf16", "ce,focal", "0,1", "1,0", "0..5", "[", "]"),
    *("[]", "{}", "[0,1]", "[[[[[]]]]]", "{a:1}", "{a:{b:[1]}}", "{", "[" * 500, "x" * 5000),
    *("range(0,3)", "range(0,1000000)", "range(0,1e12,0.5)", "range(0,5,0)", "range(3,0)"),
    *("choice(1,2)", "choice()", "shuffle(1,2)", "sort(2,1)", "interval(0,1)", "glob(*)"),
    *(
        "tag(log,interval(1e-4,1e-1))",
        "tag(log,interval(0,1))",
        "int(interval(1,9))",
        "interval(1,0)",
    ),
    *("tag(x,interval(0,1))", "interval(nan,inf)", "[interval(0,1)]", "interval(0,1),2", "(1,2)"),
    *("glob(zz*)", "tag(a,1)", "int(1.5)", "float(x)", "bool(2)", "str([1])", "range(0,nan)"),
    *("${seed}", "${epochs}", "${nope}", "${oc.env:NOPE}", "${oc.env:HOME}", "${", "${}", "$"),
    *(
        "${loss}",
        "${.a}",
        "${a:b}",
        "/data/ü",
        "a=b",
        "set(1)",
        "a b",
        "a#b",
        "a\\",
        "'",
        '"',
        "a:b",
    ),
    *("torch", "torch.nn.Linear", "xent_bench.losses.focal.focal", "..x", "a..b", "os.path", "."),
]
FLAGS = [
    *("-m", "--multirun", "-h", "--help", "--hydra-help", "--resolve", "--run", "-r", "-M", "--"),
    *("--cfg", "--cfg job", "--cfg=hydra", "--cfg x", "-c all", "--package loss", "--package nope"),
    *("--config-dir nope", "--config-dir .", "--config-dir", "--config-name x", "-cp x", "-cn"),
    *(
        "--experimental-rerun x",
        "--loss=ce",
        "--lr 0.1",
        "-loss ce",
        "--seed=0",
        "--info x",
        "-i x",
    ),
    *("--shell-completion", "-sc nope=1", "--experiment=quickstart", "--nope", "-x", "-", "--lr"),
]

texts = st.text(max_size=20)
names = st.sampled_from(KEYS) | texts
values = st.sampled_from(VALUES) | texts
overrides = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "", "", "+", "++", "~"]),
    names,
    st.sampled_from(["=", "=", "=", "=", "", "@x=", "=="]),
    values,
)
words = st.sampled_from(CHOICES) | overrides | overrides | texts
one_value = st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(VALUES))
typed_words = st.one_of(
    st.lists(words, max_size=4),
    st.tuples(st.sampled_from(CHOICES), one_value).map(list),
    st.tuples(one_value, one_value, st.just("-m")).map(list),
)
flags = st.lists(st.sampled_from(FLAGS), max_size=2) | st.just([])
command_lines = st.tuples(flags, typed_words, st.booleans())


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    yield
    if "XENT_BENCH_FUZZ" in os.environ:
        print(f"\n{sum(CODES.values())} inputs: {dict(CODES)}")


def check(main, typed: list[str], capsys, kind: str) -> None:
    """Type a command: its exit code is one of those promised, and a refusal is one line."""
    code = answer(main, *typed)
    errors = capsys.readouterr().err
    CODES[f"{kind} {code}"] += 1
    assert code in ALLOWED, errors
    assert "Traceback" not in errors
    assert errors.count("\n") == (code != Exit.DONE), errors
    assert len(errors) < 3000


@share(0.5)
@given(command_lines)
def test_whatever_is_typed_is_answered(place, capsys, command_line):
    typed_flags, typed, flags_first = command_line
    before = [word for flag in typed_flags for word in flag.split(" ")]
    line = [*before, *typed] if flags_first else [*typed, *before]
    check(train.main, line, capsys, "command")

    assert list(place.iterdir()) == []


def broken(text: str, edits: list[tuple[int, str]]) -> str:
    """A text with other characters at some places."""
    for place, character in edits:
        place %= len(text) + 1
        text = text[:place] + character + text[place + len(character) // 2 :]
    return text


scalars = st.sampled_from(VALUES) | st.none() | st.booleans() | st.integers() | st.floats() | texts
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
configs = st.dictionaries(names | st.just("_target_"), trees, max_size=5)
REAL = [(file.parent.name, file.read_text()) for file in sorted(CONF.glob("*/*.yaml"))]
edits = st.lists(
    st.tuples(st.integers(0, 2000), st.sampled_from([*"\t\n:-{}[]&*!|>'\"%@`#,? $0aé", "- ", ""])),
    max_size=4,
)
contents = st.one_of(
    configs.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True)),
    configs.map(lambda tree: "# @package _global_\n" + yaml.safe_dump(tree, allow_unicode=True)),
    trees.map(lambda tree: yaml.safe_dump(tree)),
    texts,
).map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=40)

anywhere = st.tuples(st.sampled_from([*GROUPS, "machine", "experiment"]), contents)
of_ours = st.builds(
    lambda real, places: (real[0], broken(real[1], places).encode()), st.sampled_from(REAL), edits
)


@share(0.4)
@given(anywhere | of_ours, st.booleans())
def test_whatever_stands_in_a_yaml_file_is_answered(place, capsys, file, many):
    group, content = file
    folder = place / "mine" / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my_choice.yaml").write_bytes(content)
    typed = ["--config-dir", "mine", f"{group}=my_choice", *["-m", "seed=0,1"] * many]
    check(train.main, typed, capsys, "file")

    assert [path.name for path in place.iterdir()] == ["mine"]


OPTIONS = [
    *("--format csv", "--format cvs", "--page x.html", "--page /", "--baseline ce", "--baseline"),
    *("--primary x", "--tie top1=1", "--tie x", "--power 1", "--power nan", "--all", "--pu", "--p"),
    *("--store", "--store x", "--store sqlite:///no.db", "--nope", "--experiment x", "-h", "--"),
]


@pytest.mark.usefixtures("place")
@share(0.1)
@given(
    st.sampled_from([report, status, sync]),
    st.lists(st.sampled_from(OPTIONS), max_size=3),
    st.lists(texts | st.sampled_from([".", "runs", "x" * 5000, "sqlite:///no.db"]), max_size=2),
)
def test_whatever_is_asked_of_the_other_commands_is_answered(capsys, command, options, typed):
    before = [word for option in options for word in option.split(" ")]
    check(command.main, [*before, *typed], capsys, "other")
