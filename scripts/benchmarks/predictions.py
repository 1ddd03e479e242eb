"""Predictions of xent-predict, against the bare net in a loop with the same loader."""

from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measure import Cost, by_turns, cost_of, ratio, typical
from PIL import Image

from xent_bench.models.cnn import cnn
from xent_bench.prediction.image_list import ListedFile
from xent_bench.prediction.options import Options
from xent_bench.prediction.pictures import Reader, decoded
from xent_bench.prediction.predict import predict
from xent_bench.runs.files import WEIGHTS
from xent_bench.trained_net import load
from xent_bench.trained_net.record import NetRecord, Preprocessing, StoredLink, save_record
from xent_bench.trained_net.weights import weights_sha256

# kind of files, their width and height, and the size that the net sees
CASES = {
    "JPEG of 500 x 375 to 224": ("jpg", 500, 375, 224, 3),
    "PNG of 28 x 28, grey": ("png", 28, 28, 28, 1),
}
N, WIDTH = 1000, 16


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: milliseconds of CPU an image, and the throughput against the bare loop's."""
    torch.set_num_threads(1)
    return [_row(name, *case, 8 if short else N, rounds) for name, case in CASES.items()]


def _row(
    name: str, ending: str, w: int, h: int, size: int, channels: int, n: int, rounds: int
) -> list[str]:
    with TemporaryDirectory() as place:
        folder, pictures = Path(place, "run"), Path(place, "pictures")
        for made in (folder, pictures):
            made.mkdir()
        _write_net(folder, size, channels)
        _write_images(pictures, ending, (w, h), channels, n)
        files = sorted(map(str, pictures.iterdir()))
        options = Options(images=(str(pictures),), csv=str(Path(place, "rows.csv")))

        def ours() -> Cost:
            with redirect_stderr(StringIO()):
                return cost_of(lambda: predict(folder, options))

        costs = by_turns({"bare": _bare(folder, files), "ours": ours}, rounds)
    times = ratio(costs["bare"], costs["ours"])
    return [
        f"{name}, small CNN",
        f"{1e3 * typical(costs['bare']).cpu / n:.2f}",
        f"{1e3 * typical(costs['ours']).cpu / n:.2f}",
        f"{times.cpu:.2f}",
        f"{times.wall:.2f}",
    ]


def _bare(folder: Path, files: list[str]) -> Callable[[], Cost]:
    """The net alone: pixels normalised, outputs kept, nothing made of them."""
    trained = load(folder)
    record = trained.record
    mean, std = (
        torch.tensor(moment)[:, None, None]
        for moment in (record.preprocessing.mean, record.preprocessing.std)
    )

    def loop() -> None:
        reader = Reader(record)
        with torch.no_grad():
            for batch in decoded(reader.chunks(map(ListedFile, files)), reader):
                trained.net((batch.images.float() - mean) / std)

    return lambda: cost_of(loop)


def _write_net(folder: Path, size: int, channels: int) -> None:
    """Write a net with drawn weights as a run leaves it."""
    net = cnn((channels, size, size), 10, width=WIDTH)
    torch.save(net.state_dict(), folder / WEIGHTS)
    crop = {"crop": "centre", "crop_fraction": None, "interpolation": "bilinear"}
    preparation = crop | {"shorter_side": round(size / 0.875)} if channels == 3 else {}
    moments = (120.0,) * channels, (60.0,) * channels
    save_record(
        NetRecord(
            key="0" * 64,
            weights_sha256=weights_sha256(net),
            model={"_target_": "xent_bench.models.cnn.cnn", "width": WIDTH},
            loss={"_target_": "xent_bench.losses.ce.ce"},
            shape=(channels, size, size),
            classes=tuple(map(str, range(10))),
            preprocessing=Preprocessing((size, size), channels, *moments, **preparation),
            link=StoredLink("xent_bench.links.softmax", {}),
            temperature=1.3,
            scaled_map="softmax(z / T)",
            precision="fp32",
            layout="channels_last",
            device="cpu",
            deterministic=True,
            threads=1,
            processes=1,
            batch_size=1000,
            versions={"torch": str(torch.__version__)},
        ),
        folder,
    )


def _write_images(folder: Path, ending: str, size: tuple[int, int], channels: int, n: int) -> None:
    """Write files of smooth noise, which is about as large as photographs are."""
    rng = np.random.default_rng(0)
    few = []
    for _ in range(min(n, 8)):
        shape = (size[1] // 4 + 1, size[0] // 4 + 1, channels)
        noise = Image.fromarray(rng.integers(256, size=shape, dtype=np.uint8).squeeze())
        few.append(noise.resize(size, Image.Resampling.BICUBIC))
    for number in range(n):
        few[number % len(few)].save(folder / f"{number:05d}.{ending}")
