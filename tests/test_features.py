"""data=features: vectors from files of many forms, mapped, refused by name, and trained on."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file
from trained_run import assert_same_weights, weights

from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_folder
from xent_bench.data import array_conversion
from xent_bench.data.account import account
from xent_bench.data.features import features
from xent_bench.data.gathered import Gathered
from xent_bench.data.split import split
from xent_bench.data.vectors import Vectors
from xent_bench.evaluation.rescore import rescore
from xent_bench.failures import DataError
from xent_bench.randomness import generator
from xent_bench.runs.predictions import load
from xent_bench.trained_net import load as load_net
from xent_bench.training.run import run

N, D, C = 300, 12, 3
RNG = np.random.default_rng(0)
Y = np.arange(N) % C
X = (RNG.normal(size=(N, D)) + Y[:, None]).astype(np.float32)
SPLITS = np.where(np.arange(N) < 200, "train", np.where(np.arange(N) < 240, "validation", "Test"))
NAMES = np.array(["cat", "dog", "eel"])
LINEAR = ("data=features", "model=linear", "epochs=2", "batch_size=32")


def by_split(write: Callable[[str, np.ndarray], object]) -> None:
    for name, ids in (("train", slice(0, 200)), ("val", slice(200, 240)), ("test", slice(240, N))):
        write(name, np.arange(N)[ids])


def parquet(file: Path, kind: pa.DataType, **columns: object) -> None:
    rows = pa.array(
        list(X.astype(np.float64 if kind.value_type == pa.float64() else X.dtype)), kind
    )
    pq.write_table(pa.table({"embedding": rows, **columns}), file, row_group_size=70)


def as_npz(folder: Path) -> dict[str, str]:
    np.savez(folder / "f.npz", features=X, labels=Y, split=SPLITS)
    return {"root": "f.npz"}


def as_compressed(folder: Path) -> dict[str, str]:
    np.savez_compressed(folder / "f.npz", X=X, y=Y.astype(np.uint8)[:, None], splits=SPLITS)
    return {"root": "f.npz"}


def as_splits_in_npz(folder: Path) -> dict[str, str]:
    arrays: dict[str, np.ndarray] = {}
    by_split(lambda name, ids: arrays.update({f"X_{name}": X[ids], f"y_{name}": Y[ids]}))
    np.savez(folder / "f.npz", **arrays)
    return {"root": "f.npz"}


def as_chosen_arrays(folder: Path) -> dict[str, str]:
    np.savez(folder / "f.npz", a=X.astype(np.float64), b=NAMES[Y], c=SPLITS, features=X * 0)
    return {"root": "f.npz", "features": "a", "labels": "b", "splits": "c"}


def as_npy_and_csv(folder: Path) -> dict[str, str]:
    np.save(folder / "f.npy", np.asfortranarray(X))
    lines = "\n".join(f"{i},{NAMES[y]}" for i, y in enumerate(Y))
    (folder / "l.csv").write_text(f"id,label\n{lines}\n")
    return {"root": "f.npy", "labels": str(folder / "l.csv")}


def as_npy_and_txt(folder: Path) -> dict[str, str]:
    np.save(folder / "f.npy", X.astype(">f4"))
    np.savetxt(folder / "l.txt", Y)
    return {"root": "f.npy", "labels": str(folder / "l.txt")}


def as_folder_of_npz(folder: Path) -> dict[str, str]:
    by_split(lambda name, ids: np.savez(folder / f"{name}.npz", features=X[ids], labels=Y[ids]))
    return {"root": "."}


def as_folder_of_npy(folder: Path) -> dict[str, str]:
    by_split(lambda name, ids: np.save(folder / f"{name}.npy", X[ids]))
    by_split(lambda name, ids: np.save(folder / f"{name}_labels.npy", Y[ids]))
    return {"root": "."}


def as_safetensors(folder: Path) -> dict[str, str]:
    save_file({"embeddings": X, "targets": Y}, folder / "f.safetensors")
    return {"root": "f.safetensors"}


def as_parquet(folder: Path) -> dict[str, str]:
    parquet(folder / "f.parquet", pa.list_(pa.float32()), label=NAMES[Y], split=SPLITS)
    return {"root": "f.parquet"}


def as_fixed_size_parquet(folder: Path) -> dict[str, str]:
    parquet(folder / "f.parquet", pa.list_(pa.float64(), D), target=Y)
    return {"root": "f.parquet"}


FORMS = [value for name, value in list(globals().items()) if name.startswith("as_")]
WITH_SPLITS = {
    "as_npz",
    "as_compressed",
    "as_splits_in_npz",
    "as_chosen_arrays",
    "as_folder_of_npz",
    "as_folder_of_npy",
    "as_parquet",
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_gives_the_same_rows_labels_and_splits(form, tmp_path: Path):
    keys = form(tmp_path)
    data = features(**{**keys, "root": str(tmp_path / keys["root"])})

    rows = data.images.take(torch.arange(N))
    np.testing.assert_array_equal(rows.numpy(), X)
    assert torch.equal(data.labels, torch.from_numpy(Y))
    assert data.classes in (("0", "1", "2"), tuple(NAMES))
    assert data.shape == (D, 1, 1)
    if form.__name__ in WITH_SPLITS:
        assert data.test.tolist() == list(range(240, N))
        assert data.val.tolist() == list(range(200, 240))
        drawn = split(data, seed=1)
        assert drawn.test.tolist() == list(range(240, N))
        assert drawn.train.tolist() == list(range(200))
        assert sorted([*drawn.val.tolist(), *drawn.calib.tolist()]) == list(range(200, 240))
    else:
        assert data.test is None
        assert data.val is None


def test_rows_are_taken_from_several_files_in_any_order(tmp_path: Path):
    as_folder_of_npz(tmp_path)
    data = features(root=str(tmp_path))
    ids = torch.tensor([299, 0, 210, 199, 200, 5])

    np.testing.assert_array_equal(data.images.take(ids).numpy(), X[ids])


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32()])
def test_large_columns_are_converted_once_and_mapped(kind, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(array_conversion, "SMALL", 1000)
    monkeypatch.setenv("XENT_BENCH_CACHE", str(tmp_path / "cache"))
    halves = X.astype(np.float16)
    rows = pa.array(list(halves if kind == pa.float16() else X), pa.list_(kind))
    pq.write_table(pa.table({"x": rows, "y": Y}), tmp_path / "f.parquet")

    first = features(root=str(tmp_path / "f.parquet"))
    (stored,) = (tmp_path / "cache").glob("features-*.npy")
    before = stored.stat().st_mtime_ns
    again = features(root=str(tmp_path / "f.parquet"))

    expected = halves if kind == pa.float16() else X
    np.testing.assert_array_equal(np.load(stored), expected)
    assert stored.stat().st_mtime_ns == before
    assert torch.equal(first.images.parts[0], again.images.parts[0])
    assert not list((tmp_path / "cache").glob("*.part"))


@pytest.mark.parametrize("ending", ["npz", "npy", "safetensors"])
def test_rows_stay_in_the_file(ending, tmp_path: Path):
    """A mapped row shows what is written to the file after it was opened."""
    file = tmp_path / f"f.{ending}"
    labels = {}
    if ending == "npz":
        np.savez(file, features=X, labels=Y)
    elif ending == "npy":
        np.save(file, X)
        np.save(tmp_path / "l.npy", Y)
        labels = {"labels": str(tmp_path / "l.npy")}
    else:
        save_file({"features": X, "labels": Y}, file)
    data = features(root=str(file), **labels)
    content = file.read_bytes()
    place = content.index(X.tobytes())

    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write((X[0] + 1).tobytes())

    np.testing.assert_array_equal(data.images.take(torch.tensor([0])).numpy()[0], X[0] + 1)


def test_soft_labels_votes_and_one_hot_rows_are_read(tmp_path: Path):
    q = np.full((N, C), 0.25)
    q[np.arange(N), Y] = 0.5
    votes = (4 * q).astype(np.int64)
    kinds = {}
    for name, labels in {"q": q, "votes": votes, "one_hot": np.eye(C, dtype=int)[Y]}.items():
        np.savez(tmp_path / "f.npz", features=X, labels=labels, classes=NAMES)
        kinds[name] = features(root=str(tmp_path / "f.npz"))

    np.testing.assert_allclose(kinds["q"].labels.numpy(), q)
    np.testing.assert_allclose(kinds["votes"].labels.numpy(), q)
    assert torch.equal(kinds["one_hot"].labels, torch.from_numpy(Y))
    assert {data.classes for data in kinds.values()} == {tuple(NAMES)}


def test_groups_and_weights_are_read_by_name_and_left_out_where_the_user_says_so(tmp_path: Path):
    grams = np.arange(N, dtype=np.float64)
    groups = pa.array(Y % 2)
    parquet(
        tmp_path / "f.parquet",
        pa.list_(pa.float32()),
        label=NAMES[Y],
        group=groups,
        weight=grams,
        grams=grams * 2,
    )
    root = str(tmp_path / "f.parquet")
    guessed = features(root=root)
    without = features(root=root, groups="none", weights="none")
    named = features(root=root, groups="none", weights="grams")

    assert guessed.groups.tolist() == (Y % 2).tolist()
    assert guessed.weights.tolist() == grams.tolist()
    assert guessed.listing.notes == {
        "read": "groups from group (data.groups=none leaves it out), "
        "weights from weight (data.weights=none leaves it out)"
    }
    assert without.groups is without.weights is named.groups is None
    assert without.listing.notes == named.listing.notes == {}
    assert named.weights.tolist() == (grams * 2).tolist()
    with pytest.raises(DataError, match=r"expected data.groups as an array .* got patient"):
        features(root=root, groups="patient")


def test_an_array_that_only_seems_to_hold_groups_is_refused_with_what_leaves_it_out(tmp_path: Path):
    np.savez(tmp_path / "f.npz", features=X, labels=Y, groups=NAMES)

    with pytest.raises(DataError, match=r"got shape \(3,\) \(data.groups=none leaves it out\)"):
        features(root=str(tmp_path / "f.npz"))
    assert features(root=str(tmp_path / "f.npz"), groups="none").groups is None


BAD_ROWS = X.copy()
BAD_ROWS[[3, 250, 7], 0] = np.nan, np.inf, -np.inf
OBJECTS = np.empty(N, dtype=object)
OBJECTS[:] = [[1, 2]] * N
ARRAYS: dict[str, dict[str, np.ndarray]] = {
    "nan": {"features": BAD_ROWS},
    "objects": {"labels": OBJECTS},
    "object rows": {"features": OBJECTS},
    "too few labels": {"labels": Y[:-1]},
    "images": {"features": X.reshape(N, D, 1, 1)},
    "split": {"split": np.where(Y == 0, "train", "holdout")},
    "no train": {"split": np.full(N, "test")},
    "text": {"features": NAMES[Y]},
    "fractions": {"labels": Y + 0.5},
}
KEYS = {"key": {"features": "embeding"}, "labels key": {"labels": "nowhere.csv"}}


def damaged(folder: Path, change: str) -> dict[str, str]:
    """The arguments of `features` for a set with something wrong."""
    arrays = {"features": X, "labels": Y} | ARRAYS.get(change, {})
    if change == "no labels":
        arrays = {"features": X, "paths": NAMES[Y]}
    file = folder / "f.npz"
    np.savez(file, **arrays)
    if change == "cut off":
        file.write_bytes(file.read_bytes()[:-4000])
    elif change == "ending":
        file = file.rename(folder / "f.pt")
    elif change == "nothing there":
        file = folder / "g.npz"
    return {"root": str(file), **KEYS.get(change, {})}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("nan", "3 of 300 rows hold NaN or infinity: rows 3, 7, 250, counted from 0, in .*f.npz"),
        ("objects", "labels in .*f.npz is an array of Python objects, which are not read"),
        ("object rows", "features in .*f.npz is an array of Python objects"),
        ("no labels", "expected labels beside the features in .*f.npz, which has features, paths"),
        ("too few labels", "expected a label for each of 300 rows, got 299"),
        ("images", r"expected features as rows \(n, d\) in .*f.npz, got shape \(300, 12, 1, 1\)"),
        ("split", "expected splits called train, val and test, got 'holdout'"),
        ("no train", "expected rows of train, got test alone"),
        ("text", "expected numbers in features of .*f.npz, got <U3"),
        ("key", "got embeding; data.features=NAME chooses one"),
        ("labels key", "expected data.labels as the name of an array or of a file, got nowhere"),
        ("fractions", "expected whole numbers or names as labels, got fractions"),
        ("cut off", "cannot read .*f.npz: File is not a zip file"),
        ("ending", "expected features in .npz, .npy, .safetensors, .parquet or a folder of these"),
        ("nothing there", "expected features in .*g.npz, but there is no such file"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(change, line, tmp_path: Path):
    with pytest.raises(DataError, match=line) as refused:
        features(**damaged(tmp_path, change)).check_files()

    assert "\n" not in str(refused.value)


def test_vectors_are_normalised_as_asked(tmp_path: Path):
    as_npz(tmp_path)
    ids = torch.arange(100)

    def read(normalise: str) -> torch.Tensor:
        data = features(root=str(tmp_path / "f.npz"), normalise=normalise)
        source = data.source(ids, torch.device("cpu"), 0)
        rows = next(iter(source.batches(torch.arange(100), 100)))
        return data.normalisation(ids).along(source)(rows)[:, 0].double()

    x = torch.from_numpy(X[:100]).double()
    torch.testing.assert_close(read("none"), x)
    torch.testing.assert_close(read("unit"), x / x.norm(dim=1, keepdim=True), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(read("standard"), (x - x.mean(0)) / x.std(0), rtol=1e-4, atol=1e-5)


def test_a_view_is_drawn_for_each_example_by_seed_and_epoch_alone():
    views = torch.arange(40.0)[:, None, None] * 10 + torch.arange(4.0)[:, None].expand(4, 2)
    vectors = Vectors((views[:, 0] * 0 - 1,), (views,))
    source = Gathered(vectors, torch.arange(5, 40), torch.device("cpu"), varied=True)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(1))

    def drawn(places: torch.Tensor, epoch: int) -> torch.Tensor:
        rows = source.varied(order, places, 8, generator(0, "augmentation", epoch))
        return torch.cat(list(rows))[:, 0, 0]

    everything = drawn(torch.arange(35), 0)
    assert torch.equal(everything // 10, (order + 5).float())
    assert set((everything % 10).tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert torch.equal(drawn(torch.arange(16, 35), 0), everything[16:])
    assert not torch.equal(drawn(torch.arange(35), 1), everything)
    plain = torch.cat(list(source.batches(torch.arange(35), 8)))
    assert bool((plain == -1).all())


def test_copies_and_leaks_are_named_as_for_images(tmp_path: Path):
    x = X.copy()
    x[299], x[250] = x[0], x[1]
    names = np.array([f"photo {number}.jpg" for number in range(N)])
    np.savez(tmp_path / "f.npz", features=x, labels=Y, split=SPLITS, names=names)
    data = features(root=str(tmp_path / "f.npz"))

    counted = account(data, split(data, 0))

    assert counted.leaks == {"test": 2}
    assert set(counted.leak_examples) == {
        ("photo 0.jpg", "photo 299.jpg"),
        ("photo 1.jpg", "photo 250.jpg"),
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("features")
    np.savez(folder / "f.npz", features=X.astype(np.float16), labels=Y, classes=NAMES)
    return f"data.root={folder / 'f.npz'}"


def test_a_trained_head_is_used_and_rescored_as_any_net(config, file: str, capsys):
    wanted = config(*LINEAR, file, "data.normalise=unit", base=())
    run(wanted)
    folder = run_folder(wanted)
    net, test = load_net(folder), load(folder / "predictions.npz").test

    x = torch.from_numpy(X.astype(np.float16))[torch.from_numpy(test.id)]
    assert "300 vectors of 12 numbers, 3 classes" in capsys.readouterr().out
    np.testing.assert_array_equal(net.outputs(x).numpy(), test.outputs)
    assert torch.equal(net(x[:, :, None, None]), net(x))
    assert net.classes == tuple(NAMES)
    with pytest.raises(ValueError, match="expected vectors in torch"):
        net(torch.zeros(2, D, dtype=torch.uint8))
    assert not rescore(folder).changed


def test_losses_see_the_same_batches_and_a_head_trains_with_mixup(config, file: str):
    ce, index = config(*LINEAR, file, base=()), config(*LINEAR, file, "loss=sparse_ce", base=())
    for wanted in (ce, index, config(*LINEAR, file, "augmentation.mixup=0.4", base=())):
        run(wanted)

    assert_same_weights(ce, index)
    assert weights(ce)["net.1.weight"].shape == (C, D)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("model=cnn",), "cnn takes images, and these are vectors of 12 numbers"),
        (("model=resnet18",), "resnet18 takes images, and these are vectors of 12 numbers"),
        (("augmentation.cutmix=1",), "cuts rectangles of pixels, and these are vectors"),
        (("augmentation.cutout=2",), "cuts rectangles of pixels, and these are vectors"),
    ],
)
def test_nets_and_augmentations_of_images_refuse_vectors(config, file: str, words, line):
    with pytest.raises(ConfigError, match=line):
        run(config(*LINEAR, file, *words, base=()))


def test_a_file_of_ours_says_its_classes(tmp_path: Path):
    about = np.array(json.dumps({"classes": NAMES.tolist()}))
    np.savez(tmp_path / "f.npz", features=X, labels=Y, about=about)

    assert features(root=str(tmp_path / "f.npz")).classes == tuple(NAMES)
