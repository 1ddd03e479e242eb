"""xent-predict with nets that were trained on image files, on features and on soft labels."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from xent_bench.commands.predict import main
from xent_bench.config.identity import run_folder
from xent_bench.runs.result import load_run
from xent_bench.trained_net import load
from xent_bench.training.run import run

NET = ("model=mlp", "model.width=8", "epochs=1", "machine.workers=0")


def predicted(capsys, *words: object) -> tuple[int, list[dict[str, str]], str]:
    """Type xent-predict with these words and --csv -: exit code, rows, and what is said beside."""
    capsys.readouterr()
    GlobalHydra.instance().clear()  # of the fixture; the command composes for itself
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--csv", "-"])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), list(csv.DictReader(shown.out.splitlines())), shown.err


def assert_scored_as_tested(folder: Path, said: str) -> None:
    metrics = load_run(folder / "result.json").metrics
    keys = {"top1": "test/top1", "nll": "test_ts/nll"}
    for name, key in keys.items():
        assert f"{name} {metrics[key]:.6g}" in said


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes of small JPEG files of several sizes, some of which lie turned by EXIF."""
    rng = np.random.default_rng(0)
    for name, shade in (("dark", 60), ("light", 110)):
        folder = tmp_path / "photographs" / name
        folder.mkdir(parents=True)
        for number in range(40):
            h, w = rng.integers(16, 40, 2)
            image = Image.fromarray(rng.integers(shade, shade + 90, (h, w, 3), dtype=np.uint8))
            exif = Image.Exif()
            exif[274] = 6 if number % 4 == 0 else 1
            image.save(folder / f"{number}.jpg", exif=exif, quality=95)
    return tmp_path / "photographs"


def test_photographs_are_read_as_test_read_them(config, photographs, capsys):
    base = ("data=image_folder", f"data.root={photographs}", "data.size=12", *NET, "batch_size=8")
    wanted = config(base=base)
    run(wanted)
    folder = run_folder(wanted)
    code, rows, said = predicted(capsys, folder, "--split", "test")
    _, by_folder, _ = predicted(capsys, folder, photographs)
    _, by_choice, _ = predicted(
        capsys, folder, "data=image_folder", f"data.root={photographs}", "data.size=20"
    )
    of_folder = {Path(row["file"]): row["probability"] for row in by_folder}
    net = load(folder)
    file = photographs / "dark" / "0.jpg"

    assert code == 0
    assert_scored_as_tested(folder, said)
    assert len(rows) == 16
    assert len(by_folder) == len(by_choice) == 80
    for row in rows:
        assert float(of_folder[Path(row["file"])]) == pytest.approx(float(row["probability"]))
    assert float(of_folder[file]) == pytest.approx(float(net(net.read(file)).exp().max()))
    # another size of the choice changes nothing: the net's own is taken
    assert {Path(row["file"]): row["probability"] for row in by_choice}.keys() == of_folder.keys()
    assert {row["class"] for row in by_folder} <= {"dark", "light"}


@pytest.mark.parametrize("normalise", ["standard", "unit"])
def test_a_net_on_features_takes_a_file_of_them(config, tmp_path, capsys, normalise):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300)
    features = (rng.standard_normal((300, 6)) + 2 * np.eye(6)[labels]).astype(np.float32)
    np.savez(tmp_path / "all.npz", features=features, labels=labels)
    np.savez(tmp_path / "new.npz", features=features[:5], names=np.array(list("abcde")))
    root = f"data.root={tmp_path / 'all.npz'}"
    base = ("data=features", root, f"data.normalise={normalise}", "model=linear", "epochs=2")
    wanted = config(base=base)
    run(wanted)
    folder = run_folder(wanted)
    code, rows, _ = predicted(capsys, folder, tmp_path / "new.npz")
    expected = load(folder)(torch.from_numpy(features[:5])).exp().max(dim=1).values

    assert code == 0
    assert [row["file"] for row in rows] == [f"{tmp_path / 'new.npz'}: {name}" for name in "abcde"]
    np.testing.assert_allclose([float(row["probability"]) for row in rows], expected, atol=1e-6)
    _, _, said = predicted(capsys, folder, "--split", "test")
    assert_scored_as_tested(folder, said)
    code, rows, said = predicted(capsys, folder, tmp_path / "photograph.jpg")
    assert (code, rows) == (3, [])
    assert "the net takes features" in said


def test_soft_labels_are_drawn_and_this_is_said(config, capsys):
    wanted = config("data.labels=posterior", "epochs=1")
    run(wanted)
    folder = run_folder(wanted)
    code, rows, said = predicted(capsys, folder, "--split", "test", "--coverage", 0.9)

    assert code == 0
    assert all(row["set"] for row in rows)
    assert "One class was drawn from each" in said
    assert_scored_as_tested(folder, said)


def test_a_set_of_other_images_is_scored(config, capsys):
    wanted = config("epochs=1")
    run(wanted)
    words = ("data=synthetic", "data.n=300", "data.noise=1")
    _, rows, said = predicted(capsys, run_folder(wanted), *words)

    assert len(rows) == 300
    assert "Scores of these 300 images: top1 0." in said or "top1 1" in said
