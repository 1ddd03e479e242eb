"""Comparisons of anybody's models by their predictions, in Python and on the command line."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import answer
from scipy.special import softmax
from scipy.stats import binomtest

import xent_bench as xb
from xent_bench.commands.report import main
from xent_bench.comparison.compare import Options, compare
from xent_bench.comparison.models import compare_models
from xent_bench.report.given_models import load_members
from xent_bench.report.notes import model_facts
from xent_bench.runs.given_predictions import load_given
from xent_bench.runs.result import load_runs

N, CLASSES = 150, 4
RNG = np.random.default_rng(0)
TARGET, CALIB_TARGET = RNG.integers(CLASSES, size=(2, N))


def outputs(seed: int, noise: float = 1.0, target: np.ndarray = TARGET) -> np.ndarray:
    """Logits of a net that are the more often wrong, the more noise; equal for equal arguments."""
    rng = np.random.default_rng((seed, int(100 * noise), int(target[:9] @ np.arange(9))))
    return 2 * (np.eye(CLASSES)[target] + noise * rng.normal(size=(N, CLASSES)))


def nets(noise: float, seeds: int = 4, target: np.ndarray = TARGET) -> dict[int, np.ndarray]:
    return {seed: outputs(seed, noise, target) for seed in range(seeds)}


def save(file: Path, **entries: object) -> Path:
    np.savez(file, **entries)
    return file


@pytest.fixture(scope="module")
def two_files(tmp_path_factory) -> list[str]:
    """A good and a bad model with three seeds each, whose files name them."""
    folder = tmp_path_factory.mktemp("files")
    return [
        str(
            save(
                folder / f"{name}{seed}.npz",
                logits=outputs(seed, noise),
                target=TARGET,
                calib_logits=outputs(seed, noise, CALIB_TARGET),
                calib_target=CALIB_TARGET,
                name=name,
                seed=seed,
            )
        )
        for name, noise in (("bad", 1.2), ("good", 0.5))
        for seed in range(3)
    ]


def test_models_are_judged_as_their_runs_are(swept):
    """The numbers, p values and verdicts are those of the report of the same nets, bit for bit."""
    runs = [
        run
        for run in load_runs(swept[0])
        if run.params["optimizer.lr"] == 0.01 and run.params["loss"] in ("ce", "hinge", "square")
    ]
    (of_runs,) = compare(runs)
    files = [str(run.folder / "predictions.npz") for run in runs]
    of_models = compare_models(load_members(files), Options(baseline="ce")).comparison

    assert of_models.contrasts == of_runs.contrasts
    assert of_models.trust == of_runs.trust
    assert of_models.leaders == of_runs.leaders
    assert [row.label for row in of_models.rows] == [row.label for row in of_runs.rows]
    for ours, theirs in zip(of_models.rows, of_runs.rows, strict=True):
        shared = {key: value for key, value in theirs.estimates.items() if key in ours.estimates}
        assert ours.estimates == shared
        assert len(shared) > 50


def test_a_better_model_is_called_better():
    report = xb.compare({"bad": nets(1.2), "good": nets(0.5)}, TARGET)
    contrast = next(c for c in report.comparisons[0].contrasts if c.yardstick.key == "test/nll")
    deltas = [
        xb.score(outputs(seed, 0.5), TARGET)["nll"] - xb.score(outputs(seed, 1.2), TARGET)["nll"]
        for seed in range(4)
    ]

    assert contrast.verdict == "better"
    assert contrast.difference.mean == pytest.approx(np.mean(deltas))
    assert "In NLL as trained, the primary metric, better than bad: good by" in report.conclusion
    assert "As trained only: without outputs on calib" in report.conclusion
    assert "loss" not in report.conclusion
    assert "scaled" not in report._repr_html_().partition("Against")[0].replace("Scaled:", "")


def test_with_calib_models_are_compared_after_scaling():
    """Three times the logits are the same model once a temperature is fitted."""
    models = {"one": nets(1.0), "sharp": {s: 3 * z for s, z in nets(1.0).items()}}
    calib = {
        "one": nets(1.0, target=CALIB_TARGET),
        "sharp": {s: 3 * z for s, z in nets(1.0, target=CALIB_TARGET).items()},
    }
    report = xb.compare(models, TARGET, calib=calib, calib_target=CALIB_TARGET)
    by_key = {c.yardstick.key: c for c in report.comparisons[0].contrasts}

    assert by_key["test_ts/nll"].difference.mean == pytest.approx(0, abs=1e-9)
    assert by_key["test/nll"].verdict == "worse"
    frame = report.frame().set_index("model")
    assert frame.loc["sharp", "test_ts/temperature"] == pytest.approx(
        3 * frame.loc["one", "test_ts/temperature"]
    )


def test_one_net_a_model_has_intervals_over_examples_and_no_verdict():
    z = {"mine": outputs(0, 0.5), "theirs": outputs(0, 1.2)}
    report = xb.compare(z, TARGET)
    p = {name: softmax(logits, axis=1)[np.arange(N), TARGET] for name, logits in z.items()}
    deltas = -np.log(p["theirs"]) + np.log(p["mine"])
    cell = f"{deltas.mean():+.3f}±{1.96 * deltas.std(ddof=1) / N**0.5:.3f}"

    assert {c.verdict for c in report.comparisons[0].contrasts} <= {"inconclusive", "not judged"}
    assert "With one seed a difference between models cannot be told" in report.conclusion
    assert cell in report._repr_html_()
    assert "better" not in report.conclusion.replace("is shown to be better", "")


@pytest.mark.parametrize(("answers", "at_chance"), [(TARGET, False), (TARGET + 1, True)])
def test_equal_answers_on_every_example_are_no_interval_of_width_0(answers, at_chance):
    """All right, or all wrong: other examples can differ, as rare ones of n = 150 may, in 2.4 %."""
    rng = np.random.default_rng(0)
    z = 5 * np.eye(CLASSES)[answers % CLASSES]
    models = {name: [z + 0.1 * rng.normal(size=z.shape) for _ in range(3)] for name in "ab"}
    calib = {name: [net[::-1] for net in nets] for name, nets in models.items()}
    report = xb.compare(models, TARGET, calib=calib, calib_target=TARGET[::-1])
    notes = " ".join(model_facts(report.comparisons[0]))
    bound = 100 * binomtest(0, N).proportion_ci(0.95, "exact").high

    shown = report._repr_html_()
    assert "+0.0±0.0" not in shown
    assert "100.0±0.0" not in shown
    assert ">0.0±0.0" not in shown
    assert "A mean without ±: all seeds have the same value" in shown
    assert f"other examples would change top-1 by {bound:.1f} at most (95 %, exact;" in notes
    assert "answers are no better than chance. In the first two cases" in notes
    assert min(run.metrics["test_ts/temperature"] for run in report.comparisons[0].runs) > (
        1000 if at_chance else 0
    )


def test_one_example_is_one_example():
    one = {"a": [outputs(0)[:1], outputs(1)[:1]], "b": [outputs(2)[:1], outputs(3)[:1]]}
    report = xb.compare(one, TARGET[:1])

    assert report.conclusion.startswith(f"On 1 example of {CLASSES} classes")
    assert "1 examples" not in report.conclusion


def test_nets_are_paired_by_seed():
    """The order in which seeds are given does not matter; a list stands for 0, 1, ..."""
    models = {"a": nets(1.0), "b": nets(0.9)}
    turned = {"a": models["a"], "b": dict(reversed(models["b"].items()))}
    listed = {"a": [*models["a"].values()], "b": [*models["b"].values()]}
    contrasts = [xb.compare(m, TARGET).comparisons[0].contrasts for m in (models, turned, listed)]

    assert contrasts[0] == contrasts[1] == contrasts[2]
    apart = xb.compare({"a": nets(1.0), "b": {9: outputs(0), 10: outputs(1)}}, TARGET)
    assert "No seed is shared with a by b." in apart.conclusion


def test_probabilities_and_links_can_differ_between_models():
    z = nets(1.0)
    report = xb.compare(
        {"logits": z, "p": {seed: softmax(net, axis=1) for seed, net in z.items()}},
        TARGET,
        link={"logits": "softmax", "p": "probabilities"},
    )
    by_key = {c.yardstick.key: c for c in report.comparisons[0].contrasts}

    assert by_key["test/nll"].difference.mean == pytest.approx(0, abs=1e-12)


def test_scores_that_are_no_probabilities_are_compared_by_top1():
    report = xb.compare({"a": nets(1.2), "b": nets(0.4)}, TARGET, link="margin")

    assert report.comparisons[0].options.primary == "test/top1"
    assert "In top-1, the primary metric, better than a: b by" in report.conclusion


@pytest.mark.parametrize(
    ("models", "arguments", "complaint"),
    [
        ({"a": outputs(0)}, {}, "two models at least, got those of a"),
        ({"a": outputs(0), "b": outputs(0)[:9]}, {}, "b, seed 0: target: expected one label"),
        ({"a": outputs(0), "b": outputs(0)[:, :3]}, {}, "b, seed 0: target: expected classes"),
        ({"a": outputs(0), "b": softmax(outputs(0), 1)}, {}, "b, seed 0: outputs: expected logits"),
        ({"a": outputs(0), "b": {-1: outputs(0)}}, {}, "expected seeds of 0 or more"),
        ({"a": outputs(0), "b": outputs(1)}, {"calib": {}}, "calib and calib_target together"),
        (
            {"a": outputs(0), "b": outputs(1)},
            {"calib": {"a": outputs(0)}, "calib_target": TARGET},
            "calib: expected the models a, b, got a",
        ),
        ({"a": outputs(0), "b": outputs(1)}, {"baseline": "c"}, "baseline: expected one of a, b"),
        ({"a": outputs(0), "b": outputs(1)}, {"primary": "test_ts/nll"}, "needs outputs on calib"),
        ({"a": outputs(0), "b": outputs(1)}, {"link": {"a": "softmax"}}, "got none for b"),
    ],
)
def test_models_that_do_not_fit_are_refused_in_one_line(models, arguments, complaint):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refusal:
        xb.compare(models, TARGET, **arguments)

    assert complaint in str(refusal.value)


def test_files_are_compared_from_the_command_line(two_files, tmp_path, capsys):
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    main(["--predictions", *two_files, "--page", str(page), "--picture", str(picture)])
    shown = " ".join(capsys.readouterr().out.split())

    assert "On 150 examples of 4 classes, 3 seeds." in shown
    assert "In NLL after temperature scaling, the primary metric, better than bad: good" in shown
    assert "Against bad, over the test examples" in shown
    assert picture.stat().st_size > 10_000
    html = re.sub(r"<(script|style).*?</\1>", "", page.read_text(), flags=re.DOTALL)
    for heading in ("Cost", "Origin", "What differs", "commands of all", "Files that cannot"):
        assert heading not in html
    assert "Reliability" in html
    assert "Differences are paired by seed" in html
    assert "Against bad" in html


def test_a_name_that_is_typed_gathers_the_nets_of_a_model(two_files, capsys):
    bad, good = ",".join(two_files[:3]), ",".join(two_files[3:])
    main(["--predictions", f"b={bad}", f"a={good}", "--format", "csv"])
    head, *lines = capsys.readouterr().out.splitlines()

    assert [line.split(",")[2:4] for line in lines] == [["a", "3"], ["b", "3"]]
    assert head.startswith("experiment,setting,model,n,test")
    assert "trials" not in head


def test_a_file_without_a_name_or_a_seed_is_a_model_by_itself(tmp_path, capsys):
    files = [
        save(tmp_path / f"{name}.npz", probabilities=softmax(outputs(0, n), 1), target=TARGET)
        for name, n in (("x", 0.5), ("y", 1.0))
    ]
    main(["--predictions", *map(str, files)])
    shown = capsys.readouterr().out

    assert "Against x, over the test examples" in shown
    assert "scaled" not in shown.replace("Scaled:", "")


def test_entries_for_other_readers_are_left_alone(tmp_path):
    file = save(
        tmp_path / "a.npz", logits=outputs(0), target=TARGET, ids=np.arange(len(TARGET)),
        logits_raw=outputs(1), target_names=np.array([*"abcd"]), split="test",
    )  # fmt: skip

    assert load_given(file).predictions.test.outputs.shape == outputs(0).shape


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"target": TARGET}, "expected logits and target in it, got target"),
        ({"logits": outputs(0)}, "expected logits and target in it, got logits"),
        ({"logits": outputs(0)[:5], "target": TARGET}, "target: expected one label for each of 5"),
        ({"logits": outputs(0) * np.nan, "target": TARGET}, "NaN or infinity in row 0"),
        ({"logits": outputs(0), "target": TARGET + 1}, "target: expected classes from 0 to 3"),
        ({"logits": softmax(outputs(0), 1), "target": TARGET}, "expected logits, got rows in"),
        ({"logits": outputs(0), "target": TARGET, "seed": -1}, "seed: expected a whole number"),
        ({"logits": outputs(0), "target": TARGET, "name": 3}, "name: expected a text"),
        ({"logits": outputs(0), "target": TARGET, "link": "os.system"}, "link: expected one of"),
        ({"logits": outputs(0), "target": TARGET, "classes": ["a"]}, "names of 4 classes"),
        (
            {"logits": outputs(0), "target": TARGET, "calib_logits": outputs(0)},
            "expected calib_target beside calib_logits",
        ),
        (
            {"logits": outputs(0), "target": np.array([{}] * N, dtype=object)},
            "target.npy: expected numbers or text, got objects",
        ),
        ({"logits": outputs(0), "target": (TARGET + 1) % 4}, "label of test example 0 is another"),
        (
            {"logits": outputs(0)[:9], "target": TARGET[:9]},
            "it has 9 test examples, not 150",
        ),
        (
            {"logits": np.c_[outputs(0), TARGET], "target": TARGET},
            "it has 5 classes, not 4",
        ),
        (
            {"logits": outputs(0), "target": TARGET, "classes": [*"abce"]},
            "its class 3 is e, not d",
        ),
        (
            {"logits": outputs(0), "target": TARGET, "name": "good", "seed": 0},
            "seed 0 in",
        ),
        (
            {
                "logits": outputs(0),
                "target": TARGET,
                "calib_logits": outputs(0, target=CALIB_TARGET),
                "calib_target": CALIB_TARGET,
            },
            "expected outputs on calib for every net or for none",
        ),
        (
            {
                "logits": outputs(0),
                "target": TARGET,
                "calib_logits": outputs(0),
                "calib_target": TARGET,
            },
            "expected examples held out from test, got the test examples themselves",
        ),
        (
            {"logits": outputs(0), "probabilities": softmax(outputs(0), 1), "target": TARGET},
            "expected logits or probabilities, got both",
        ),
        (
            {"logits": outputs(0), "target": TARGET, "classes": [*"abca"]},
            "classes: expected each name once, got 'a' twice",
        ),
        (
            {"logits": softmax(outputs(0), 1).round(2), "target": TARGET},
            "which look like rounded probabilities",
        ),
        (
            {"logits": outputs(0), "target": TARGET, "links": "sigmoid"},
            "links: no entry that is read; did you mean link?",
        ),
    ],
)
def test_a_bad_file_is_one_line_and_exit_code_3(entries, complaint, tmp_path, capsys):
    good = {"logits": outputs(1), "target": TARGET, "classes": [*"abcd"], "name": "good", "seed": 0}
    files = [save(tmp_path / "good.npz", **good), save(tmp_path / "bad.npz", **entries)]
    code = answer(lambda: main(["--predictions", *map(str, files)]))
    shown = capsys.readouterr()

    assert code == 3
    assert shown.out == ""
    assert complaint in shown.err
    assert "bad.npz" in shown.err
    assert len(shown.err.splitlines()) == 1


def test_damaged_and_missing_files_are_one_line(two_files, tmp_path, capsys):
    content = Path(two_files[0]).read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "folder.npz").mkdir()
    np.savez_compressed(tmp_path / "compressed.npz", logits=outputs(0), target=TARGET)
    (tmp_path / "table.csv").write_text("logits,target\n")
    for name in ("cut.npz", "folder.npz", "compressed.npz", "none.npz", "table.csv"):
        file = str(tmp_path / name)
        code = answer(lambda file=file: main(["--predictions", two_files[0], file]))
        shown = capsys.readouterr().err

        assert code == 3
        assert name in shown
        assert len(shown.splitlines()) == 1
    assert "expected an .npz, as np.savez writes it" in shown


def test_one_file_given_twice_is_not_two_seeds(two_files, capsys):
    code = answer(lambda: main(["--predictions", f"x={two_files[0]},{two_files[0]}", *two_files]))

    assert code == 2
    assert "twice: one net is not two seeds" in capsys.readouterr().err


def test_a_name_of_two_lines_is_shown_in_one(tmp_path, capsys):
    files = [
        save(tmp_path / f"{seed}.npz", logits=outputs(seed), target=TARGET, name=name)
        for seed, name in enumerate(("my\nnet", "other"))
    ]
    main(["--predictions", *map(str, files)])

    assert "Against my net, over the test examples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["--predictions", "a=,b.npz"],
            "expected FILE.npz or NAME=FILE.npz,FILE.npz, got a=,b.npz",
        ),
        (["elsewhere", "--predictions", "a.npz"], "expected runs or --predictions, got elsewhere"),
        (["--power", "0.3", "--predictions", "a.npz"], "--power: needs runs"),
        (["--experiment", "x", "--predictions", "a.npz"], "--experiment: needs runs"),
        (["--publish", "--predictions", "a.npz"], "--publish: needs runs"),
    ],
)
def test_words_that_do_not_go_together_are_refused(words, complaint, capsys):
    assert answer(lambda: main(words)) == 2
    assert complaint in capsys.readouterr().err


def test_the_predictions_of_a_run_are_known_by_its_result(swept, tmp_path):
    folder = next(swept[0].glob("square-*"))
    shutil.copy(folder / "predictions.npz", tmp_path / "copied.npz")
    (member, copied) = load_members([str(folder / "predictions.npz"), str(tmp_path / "copied.npz")])

    assert (member.model, copied.model) == ("square", "copied")
    assert copied.predictions.link == member.predictions.link or (
        copied.predictions.link.func is member.predictions.link.func
    )
