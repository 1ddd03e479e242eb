"""An exported file gives the probabilities of its run, by the lines that its model card shows."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import answer
from PIL import Image
from scipy.stats import binomtest

from xent_bench.commands.export import main
from xent_bench.comparison.best_run import best_run
from xent_bench.config.identity import run_folder
from xent_bench.config.own_code import with_own
from xent_bench.export.card import plain
from xent_bench.export.description import wilson
from xent_bench.export.formats import FORMATS
from xent_bench.export.safetensors_file import load as load_safetensors
from xent_bench.failures import DataError
from xent_bench.runs.files import PREDICTIONS, RESULT
from xent_bench.runs.predictions import load as load_predictions
from xent_bench.runs.predictions import save as save_predictions
from xent_bench.runs.result import load_run, save_run
from xent_bench.shift.images_of_test import images_of_test
from xent_bench.trained_net import load
from xent_bench.training.run import run

CNN = ("data=synthetic", "data.n=300", "model=cnn", "model.width=4", "epochs=1")
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def trained(swept) -> Path:
    """The folder of a run of a real sweep, with other losses beside it."""
    root, _ = swept
    return next(iter(sorted(root.glob("hinge-*"))))


def exported(trained: Path, form: str, folder: Path, *options: str) -> str:
    """Export a run and return its card."""
    assert answer(main, str(trained), "--to", form, str(folder), *options) == 0
    return (folder / "README.md").read_text()


@pytest.fixture(scope="module")
def winners(trained, tmp_path_factory) -> Path:
    """A folder with one of each form, exported under a licence. Tests leave it as it is."""
    root = tmp_path_factory.mktemp("winners")
    for form in FORMATS:
        exported(trained, form, root / form, "--license", "MIT")
    return root


def on_test(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images of a run's test, and the probabilities that its net gives for them."""
    ids = load_predictions(folder / PREDICTIONS).test.id
    (block,) = images_of_test(folder, ids).batches(10_000)
    return block.images.numpy(), load(folder)(block.images).exp().numpy()


def by_card(winner: Path, images: np.ndarray, place: Path, *forbidden: str) -> np.ndarray:
    """Execute the card's lines on these images in a new process, and return the probabilities.

    Modules of `forbidden` cannot be imported there. Arrays are kept at `place`.
    """
    taken, given = place / "images.npy", place / "probabilities.npy"
    np.save(taken, images)
    lines = BLOCK.findall((winner / "README.md").read_text())[0]
    typed = re.sub(r"images = np\.zeros.*", f"images = np.load({str(taken)!r})", lines)
    assert typed != lines
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in forbidden)
    script = f"import sys\n{blocked}{typed}\nnp.save({str(given)!r}, probabilities)\n"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=winner,
        check=True,
        capture_output=True,
        text=True,
    )
    return np.load(given)


def test_onnx_runs_without_pytorch_by_the_lines_of_its_card(trained, winners, tmp_path):
    images, expected = on_test(trained)

    probabilities = by_card(winners / "onnx", images, tmp_path, "torch", "xent_bench")

    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


def test_pt2_runs_without_this_package_by_the_lines_of_its_card(trained, winners, tmp_path):
    images, expected = on_test(trained)

    probabilities = by_card(winners / "pt2", images, tmp_path, "xent_bench", "onnx")

    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


def test_safetensors_are_loaded_by_the_lines_of_its_card(trained, winners, monkeypatch, capsys):
    images, expected = on_test(trained)
    monkeypatch.chdir(winners / "safetensors")
    card = Path("README.md").read_text()
    names: dict[str, object] = {}

    exec(BLOCK.findall(card)[0], names)

    net = names["net"]
    np.testing.assert_allclose(net(torch.from_numpy(images)), expected, rtol=0, atol=1e-5)
    name, probability = capsys.readouterr().out.splitlines()[-1].rsplit(" ", 1)
    assert name in load(trained).classes
    assert 0.1 <= float(probability) <= 1


def test_a_damaged_safetensors_file_is_refused_in_one_line(winners, tmp_path):
    file = tmp_path / "model.safetensors"
    content = bytearray((winners / "safetensors" / file.name).read_bytes())
    content[-3] ^= 64  # a bit of a weight
    file.write_bytes(content)

    with pytest.raises(DataError, match="expected the weights that were tested, of SHA-256"):
        load_safetensors(file)
    file.write_bytes(content[:100])
    with pytest.raises(DataError, match=f"cannot read {file}"):
        load_safetensors(file)


def test_the_description_is_beside_the_file_and_in_it(trained, winners):
    import onnx
    from safetensors import safe_open

    described = {form: json.loads((winners / form / "model.json").read_text()) for form in FORMATS}
    model = onnx.load(winners / "onnx" / "model.onnx")
    texts = {entry.key: entry.value for entry in model.metadata_props}
    files = {"model.json": ""}
    torch.export.load(winners / "pt2" / "model.pt2", extra_files=files)
    with safe_open(winners / "safetensors" / "model.safetensors", "np") as content:
        metadata = content.metadata()

    result, one = load_run(trained / RESULT), described["onnx"]
    assert one["classes"] == list(load(trained).classes)
    assert one["metrics"]["nll"]["value"] == result.metrics["test_ts/nll"]
    assert one["metrics"]["nll"]["standard_error"] == result.metrics["test_ts_se/nll"]
    assert one["calibration"]["verdict"] == result.tags["test_ts_verdict"]
    assert one["data"] == {"name": "synthetic", "sha256": result.tags["data_sha256"]}
    assert one["licence"] == "MIT"
    assert one["command"] == result.command
    assert (one["input"]["dtype"], one["input"]["shape"]) == ("uint8", ["n", 1, 8, 8])
    assert one["check"]["to_stored_predictions"]["largest"] < 1e-5
    assert json.loads(texts["classes"]) == one["classes"]
    assert texts["licence"] == "MIT"
    within = json.loads(files["model.json"])
    assert within == {key: described["pt2"][key] for key in within}
    assert json.loads(metadata["net.json"])["key"] == result.tags["key"]


def test_the_same_run_gives_the_same_bytes_and_says_how_it_was_checked(
    trained, winners, tmp_path, capsys
):
    n = load_run(trained / RESULT).n_test
    for form, runtime in (("onnx", "ONNX Runtime"), ("safetensors", "PyTorch")):
        exported(trained, form, tmp_path / form, "--license", "MIT")

        printed = capsys.readouterr().out
        assert re.search(
            rf"largest difference \de-0[678] .* over {n} test images x 10 classes, by {runtime}",
            printed,
        )
        assert f"the same answer for {n}" in printed
        for file in sorted((tmp_path / form).iterdir()):
            assert file.read_bytes() == (winners / form / file.name).read_bytes(), file.name


def test_the_card_says_what_the_run_says(trained, winners):
    card = (winners / "onnx" / "README.md").read_text()
    result = load_run(trained / RESULT)

    _, front, text = card.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["license"] == "mit"
    assert facts["pipeline_tag"] == "image-classification"
    (scores,) = facts["model-index"][0]["results"]
    assert scores["metrics"][0]["value"] == pytest.approx(result.metrics["test_ts/top1"], abs=1e-6)
    assert f"| nll | -log p of the true class, nats | {result.metrics['test_ts/nll']:.3f} |" in text
    assert result.command in text
    assert result.tags["data_sha256"] in text
    assert "The report on the finished runs beside it concludes: On synthetic with mlp" in text
    assert "| licence | MIT |" in text
    assert str(trained.parent) not in card


def test_the_card_is_silent_on_what_is_not_known(trained, tmp_path):
    """A run that was copied away has no losses beside it, and here no picture and no account."""
    alone = tmp_path / "alone" / trained.name
    shutil.copytree(trained, alone, ignore=shutil.ignore_patterns("pictures", "images.json"))
    card = exported(alone, "safetensors", tmp_path / "winner")

    assert "Nothing: no finished run of another loss lies beside this one." in card
    assert "reliability.png" not in card
    assert not (tmp_path / "winner" / "reliability.png").exists()
    assert "license" not in card.split("---\n")[1]
    assert "| licence | not stated |" in card


def test_the_card_claims_no_error_where_nothing_tells_one(trained, tmp_path):
    """Where all answers are right the standard error is 0, and where calib leaves T open None."""
    alone = tmp_path / "alone" / trained.name
    shutil.copytree(trained, alone)
    result = load_run(alone / RESULT)
    lacking = {"test_ts_se/temperature"}
    metrics = {key: value for key, value in result.metrics.items() if key not in lacking}
    save_run(replace(result, metrics=metrics | {"test_ts_se/top1": 0.0}), alone)
    card = exported(alone, "safetensors", tmp_path / "winner")

    assert "(calib leaves it open) in softmax(z / T)" in card
    (row,) = [line for line in card.splitlines() if line.startswith("| top1 %")]
    assert row.endswith(" | - |")


@pytest.mark.parametrize(
    ("precision", "largest", "tolerance"), [("fp32", 1e-5, "0.0001"), ("bf16", 0.1, "0.1")]
)
def test_a_net_of_each_precision_is_exported_in_float32(
    config, tmp_path, capsys, precision, largest, tolerance
):
    wanted = config(f"precision={precision}", base=CNN)
    run(wanted)
    exported(run_folder(wanted), "onnx", tmp_path / "winner")

    content = json.loads((tmp_path / "winner" / "model.json").read_text())
    assert content["check"]["to_stored_predictions"]["largest"] < largest
    assert f"tolerance {tolerance}" in capsys.readouterr().out


@pytest.fixture
def changed(trained, tmp_path) -> Callable[..., Path]:
    """Copy the run, with other stored outputs of test or other tags."""

    def change(outputs: float = 0.0, **tags: str) -> Path:
        folder = tmp_path / "changed" / trained.name
        shutil.copytree(trained, folder)
        stored = load_predictions(folder / PREDICTIONS)
        moved = stored.test.outputs.copy()
        moved[0, 0] += outputs
        save_predictions(
            stored._replace(test=stored.test._replace(outputs=moved)), folder / PREDICTIONS
        )
        result = load_run(folder / RESULT)
        save_run(replace(result, tags=result.tags | tags), folder)
        return folder

    return change


@pytest.mark.parametrize("form", ["onnx", "safetensors"])
def test_a_file_that_gives_other_probabilities_is_refused(changed, tmp_path, capsys, form):
    folder = changed(outputs=1.0)
    winner = tmp_path / "new" / "winner"

    assert answer(main, str(folder), "--to", form, str(winner)) == 1
    line = capsys.readouterr().err
    assert re.fullmatch(
        r"xent-export: not exported: largest difference 0\.\d+ to the run's stored probabilities "
        r"over \d+ test images x 10 classes, by .* \(tolerance 0\.0001\); the same answer for \d+; "
        r"--tolerance sets another\n",
        line,
    )
    assert not winner.parent.exists()
    exported(folder, form, winner, "--tolerance", "1")


def test_without_the_images_of_test_an_export_has_to_be_asked_for(changed, tmp_path, capsys):
    folder = changed(data_sha256="0" * 64)
    words = [str(folder), "--to", "onnx", str(tmp_path / "winner")]

    assert answer(main, *words) == 3
    assert "--unchecked compares it with the net in PyTorch alone" in capsys.readouterr().err
    assert not (tmp_path / "winner").exists()
    assert answer(main, *words, "--unchecked") == 0
    out = capsys.readouterr().out
    assert "not compared with the predictions of the run's test, whose images are not at" in out
    assert re.search(r"in PyTorch \de-0\d over 16 inputs drawn at random x 10 classes", out)
    content = json.loads((tmp_path / "winner" / "model.json").read_text())
    assert content["check"]["to_stored_predictions"] is None
    assert "not compared with the predictions" in (tmp_path / "winner" / "README.md").read_text()


def test_a_folder_with_files_is_refused_and_an_empty_one_is_filled(trained, tmp_path, capsys):
    winner = tmp_path / "winner"
    winner.mkdir()
    exported(trained, "safetensors", winner)
    before = {file.name: file.read_bytes() for file in winner.iterdir()}
    capsys.readouterr()

    assert answer(main, str(trained), "--to", "safetensors", str(winner)) == 2
    assert "expected a new or empty folder, got" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in winner.iterdir()} == before
    assert answer(main, str(trained), "--to", "onnx", str(winner / "README.md")) == 2


def test_the_missing_extra_is_named(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as where it is not installed

    assert answer(main, str(trained), "--to", "onnx", str(tmp_path / "winner")) == 4
    line = "xent-export: --to onnx needs onnxruntime: pip install 'xent-bench[onnx]'\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--to", "tflite", "winner"], "--to: invalid choice: 'tflite'"),
        (["winner"], "expected RUN FOLDER and --to"),
        (["--to", "onnx", "winner", "--tolerance", "2"], "expected a number from 0 to 1"),
        (["--to", "onnx", "winner", "--license", " "], "expected a name"),
    ],
    ids=["form", "no form", "tolerance", "licence"],
)
def test_bad_options_are_one_line(trained, capsys, words, complaint):
    assert answer(main, str(trained), *words) == 2
    line = capsys.readouterr().err
    assert complaint in line
    assert line.count("\n") == 1


def test_above_several_runs_the_best_on_val_is_exported(swept, tmp_path, capsys):
    root, _ = swept
    answer(main, str(root), "--to", "safetensors", str(tmp_path / "winner"))
    best = best_run(root)

    reason = capsys.readouterr().err
    assert "test chose nothing" in reason
    content = json.loads((tmp_path / "winner" / "model.json").read_text())
    assert content["run"]["key"] == load_run(best / RESULT).tags["key"]
    card = (tmp_path / "winner" / "README.md").read_text()
    assert reason.partition(":")[0] in card
    assert str(root) not in card


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()

    assert answer(main, str(tmp_path / "empty"), "--to", "onnx", str(tmp_path / "winner")) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "winner").exists()


OWN_NET = '''
import torch
from torch import nn


class Branching(nn.Module):
    """A net whose way depends on the pixels, and one that torch.export can record."""

    def __init__(self, shape, classes, branching: bool = False, looping: bool = False):
        super().__init__()
        self.linear = nn.Linear(64, classes)
        self.branching, self.looping = branching, looping

    def forward(self, images):
        outputs = self.linear(images.flatten(1))
        if self.looping:
            return torch.stack([row * 2 for row in outputs])
        if self.branching and outputs.sum() > 0:
            return 2 * outputs
        return outputs
'''


@pytest.mark.parametrize(
    ("branching", "looping", "why"),
    [
        (False, False, ""),
        (True, False, "Could not guard on data-dependent expression"),
        (False, True, "its code fixes the number of images or their size"),
    ],
)
def test_a_net_of_the_users_own_is_exported_unless_it_branches(
    config, tmp_path, capsys, monkeypatch, branching, looping, why
):
    (tmp_path / "net_of_a_user.py").write_text(OWN_NET)
    monkeypatch.syspath_prepend(tmp_path)
    kind = [f"model.branching={branching}", f"model.looping={looping}"]
    words = with_own(["model._target_=net_of_a_user.Branching", *kind])
    wanted = config(base=("data=synthetic", "data.n=300", "epochs=1", *words))
    run(wanted)
    command = [str(run_folder(wanted)), "--to", "onnx", str(tmp_path / "winner")]

    if not why:
        assert answer(main, *command) == 0
        return
    capsys.readouterr()
    assert answer(main, *command) == 4
    line = capsys.readouterr().err
    assert line.startswith("xent-export: torch.export cannot record the net net_of_a_user.Branch")
    assert why in line
    assert "machine.compile" not in line
    assert line.count("\n") == 1
    assert not (tmp_path / "winner").exists()
    assert answer(main, *command[:-2], "safetensors", command[-1]) == 0  # which needs no graph


def test_vectors_go_in_as_they_are_stored(config, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    features = (rng.normal(size=(200, 5)) + labels[:, None]).astype(np.float16)
    np.savez(tmp_path / "features.npz", features=features, labels=labels)
    data = ("data=features", f"data.root={tmp_path / 'features.npz'}", "data.normalise=unit")
    wanted = config(base=(*data, "model=linear", "epochs=1", "batch_size=16"))
    run(wanted)
    exported(run_folder(wanted), "onnx", tmp_path / "winner")

    ids = load_predictions(run_folder(wanted) / PREDICTIONS).test.id
    taken = features[ids].astype(np.float32)
    expected = load(run_folder(wanted))(torch.from_numpy(taken)).exp()
    probabilities = by_card(tmp_path / "winner", taken, tmp_path, "torch")
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)


def test_a_net_of_files_takes_whole_images_of_any_size(config, tmp_path):
    import onnxruntime

    rng = np.random.default_rng(0)
    for name, shade in (("dark", 60), ("light", 160)):
        folder = tmp_path / "photographs" / "train" / name
        folder.mkdir(parents=True)
        for number in range(30):
            h, w = (12, 12) if number < 8 else rng.integers(12, 30, 2)
            pixels = rng.integers(shade, shade + 90, (h, w, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    data = ("data=image_folder", f"data.root={tmp_path / 'photographs'}", "data.size=12")
    words = (*data, "model=cnn", "model.width=4", "epochs=1", "batch_size=8")
    wanted = config("machine.workers=0", base=words)
    run(wanted)
    card = exported(run_folder(wanted), "onnx", tmp_path / "winner")
    content = json.loads((tmp_path / "winner" / "model.json").read_text())

    assert content["input"]["shape"] == ["n", 3, "height", "width"]
    assert content["check"]["to_stored_predictions"]["largest"] < 1e-5
    assert content["check"]["to_the_net_in_pytorch"]["largest"] < 1e-6
    whole = content["check"]["whole_files_to_stored_predictions"]
    assert whole["largest"] < 0.02
    assert whole["same"] == whole["n"] == load_run(run_folder(wanted) / RESULT).n_test
    assert str(tmp_path) not in card.replace(f"data.root={tmp_path}", "")
    # a file that has the net's own size was cropped by the run, and so it is here
    net, session = (
        load(run_folder(wanted)),
        onnxruntime.InferenceSession(tmp_path / "winner" / "model.onnx"),
    )
    file = tmp_path / "photographs" / "train" / "light" / "0.png"
    names: dict[str, np.ndarray] = {}
    exec(f"import numpy as np\n{BLOCK.findall(card)[1]}".replace("photo.jpg", str(file)), names)
    (probabilities,) = session.run(None, {"images": names["images"]})
    np.testing.assert_allclose(probabilities, net(net.read(file)).exp(), rtol=0, atol=5e-3)


def test_the_interval_of_right_answers_is_wilsons():
    for right, n in ((0, 50), (3, 50), (359, 359), (354, 359)):
        expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
        assert wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_names_of_a_run_are_shown_as_text():
    assert plain("<script>[a](b)|`c`\n\x1b[31m") == (r"\<script\>\[a\](b)\|\`c\` \\x1b\[31m")


def test_the_command_answers_without_pytorch():
    script = (
        "import sys; sys.argv = ['xent-export', '--help'];"
        "from xent_bench.commands.export import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'onnx', 'mlflow'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert shown.stdout.splitlines()[-1] == "[]"
