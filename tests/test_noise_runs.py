"""Runs with noisy labels: their key, their account, their curves, and the notes beside them."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binom
from trained_run import assert_same_weights, mlflow_run, untimed
from written_run import write_run

from xent_bench.comparison.compare import compare
from xent_bench.config.configure import ConfigError, check_top_level
from xent_bench.config.identity import run_folder, run_key, science
from xent_bench.config.parts import resolve
from xent_bench.data.account import account
from xent_bench.report.notes import facts
from xent_bench.runs.data_account import load_account
from xent_bench.runs.predictions import load as load_predictions
from xent_bench.runs.result import load_runs
from xent_bench.trained_net.net import load
from xent_bench.training import noise_curves
from xent_bench.training.build import build
from xent_bench.training.checkpoint_files import LastingCheckpointIO
from xent_bench.training.run import run

NOISY = ("noise=symmetric", "noise.rate=0.3", "optimizer.lr=0.05", "epochs=3")


class PowerCut(BaseException):
    """Ends a run where it stands."""


def test_a_rate_of_0_is_the_run_without_noise(config):
    clean, noisy = config(), config("noise=symmetric", "noise.rate=0")
    assert run_key(noisy) == run_key(clean)
    assert science(noisy) == science(clean)
    first = run(clean)
    folder = run_folder(clean)
    again = run(config("noise=pair", "noise.rate=0", "imbalance=step", "imbalance.ratio=1"))
    assert again == first
    assert not (folder / "noise.json").exists()


def test_what_changes_a_label_changes_the_key(config, tmp_path):
    np.save(tmp_path / "a.npy", np.eye(10))
    np.save(tmp_path / "b.npy", np.eye(10))
    np.save(tmp_path / "c.npy", np.full((10, 10), 0.1))
    keys = [
        run_key(config(*words))
        for words in (
            (),
            ("noise=symmetric", "noise.rate=0.2"),
            ("noise=symmetric", "noise.rate=0.4"),
            ("noise=pair", "noise.rate=0.4"),
            ("noise=pair", "noise.rate=0.4", "noise.seed=1"),
            ("noise=pair", "noise.rate=0.4", "noise.val=clean"),
            ("noise=asymmetric", "noise.map={1: 7}"),
            ("noise=asymmetric", "noise.map={1: 8}"),
            ("noise=matrix", f"noise.matrix={tmp_path}/a.npy"),
            ("noise=matrix", f"noise.matrix={tmp_path}/c.npy"),
        )
    ]
    assert len(set(keys)) == len(keys)
    moved = run_key(config("noise=matrix", f"noise.matrix={tmp_path}/b.npy"))
    assert moved == keys[-2]  # the content counts, not the place


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("noise.rate=0.4",), r"noise\.rate: does nothing with noise=none; a key of symmetric"),
        (("noise=symmetric", "noise.map={1: 2}"), r"noise\.map: does nothing .* of asymmetric"),
        (("noise=matrix",), r"noise\.matrix: has to be given"),
        (("noise=file",), r"noise\.labels: has to be given"),
        (("noise=pair", "noise.rate=1.5"), r"noise\.rate: should be less than or equal to 1"),
        (("imbalance.ratio=5",), r"imbalance\.ratio: does nothing with imbalance=none"),
    ],
)
def test_keys_of_noise_that_do_not_go_together_are_refused(words, complaint, config):
    with pytest.raises(ConfigError, match=complaint):
        check_top_level(config(*words))


def test_two_losses_train_on_the_same_noisy_labels(config, tmp_path):
    labels = []
    for loss in ("ce", "mae"):
        chosen = config(*NOISY, f"loss={loss}")
        labels.append(build(chosen, resolve(chosen), tmp_path, None).data.labels)
    assert torch.equal(*labels)


def test_curves_account_and_mlflow_say_what_the_noise_did(config, monkeypatch):
    monkeypatch.setattr(noise_curves, "MOST", 200)  # fewer than there are
    chosen = config(*NOISY)
    result = run(chosen)
    folder = run_folder(chosen)
    built = build(chosen, resolve(chosen), folder, None)
    data, splits = built.data, built.splits

    # a count by hand, with the net that the run has left
    net = load(folder)
    for key, ids, labels in (
        ("train_noisy/memorised", True, data.labels),
        ("train_noisy/top1", True, data.clean),
        ("train_clean/top1", False, data.labels),
    ):
        order = torch.randperm(
            len(splits.train), generator=noise_curves.generator(0, "noise curves")
        )
        train = splits.train[order]
        drawn = train[(data.labels[train] != data.clean[train]) == ids][:200]
        answers = net.outputs(data.images[drawn]).argmax(dim=1)
        assert result["metrics"][key] == (answers == labels[drawn]).double().mean().item()
    answers = net.outputs(data.images[splits.val]).argmax(dim=1)
    clean_val = (answers == data.clean[splits.val]).double().mean().item()
    assert result["metrics"]["val_clean/top1"] == clean_val

    noise = json.loads((folder / "noise.json").read_text())
    with (folder / "noise.csv").open() as file:
        rows = list(csv.reader(file))
    counts = np.array([row[1:] for row in rows[1:]], dtype=int)
    assert noise["changed"]["train"] == counts.sum() - counts.trace()
    assert counts.sum() == len(splits.train) == noise["images"]["train"]
    n = counts.sum(axis=1, keepdims=True)
    asked = np.full((10, 10), 0.3 / 9) + np.eye(10) * (0.7 - 0.3 / 9)
    tails = np.minimum(binom.cdf(counts, n, asked), binom.sf(counts - 1, n, asked))
    assert noise["p"] == pytest.approx(min(1, 100 * 2 * tails.min()))
    assert "symmetric at a rate of 0.3" in load_account(folder).notes["noise"]

    stored = mlflow_run(chosen)
    assert stored.data.tags["noise_sha256"] == noise["changed_sha256"]
    assert float(stored.data.tags["noise_rate"]) == pytest.approx(
        noise["changed"]["train"] / noise["images"]["train"], abs=1e-4
    )
    assert stored.data.params["noise.rate"] == "0.3"
    assert "train_noisy/memorised" in stored.data.metrics

    predictions = load_predictions(folder / "predictions.npz")
    true = data.clean[torch.from_numpy(predictions.test.id)].numpy()
    assert np.array_equal(predictions.test.target, true)
    noisy_calib = data.labels[torch.from_numpy(predictions.calib.id)].numpy()
    assert np.array_equal(predictions.calib.target, noisy_calib)
    assert (noisy_calib != data.clean[torch.from_numpy(predictions.calib.id)].numpy()).any()


def test_a_noisy_run_that_is_cut_ends_with_the_same_bits(config, monkeypatch):
    straight, cut = config(*NOISY, folder="straight"), config(*NOISY, folder="cut")
    run(straight)
    save = LastingCheckpointIO.save_checkpoint
    monkeypatch.setattr("xent_bench.training.saving.MAX_SHARE", math.inf)

    def save_and_cut(*arguments: object, **options: object) -> None:
        save(*arguments, **options)
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(LastingCheckpointIO, "save_checkpoint", save_and_cut)
        for _ in range(2):
            with pytest.raises(PowerCut):
                run(cut)
    run(cut)
    assert_same_weights(straight, cut)
    assert untimed(cut) == untimed(straight)


def test_copies_with_another_label_are_those_of_the_data_and_not_of_the_noise(config, tmp_path):
    chosen = config("noise=symmetric", "noise.rate=0.9")
    built = build(chosen, resolve(chosen), tmp_path, None)
    copies = built.splits.train[:20]
    images, labels = built.data.images.clone(), built.data.clean.clone()
    images[copies] = images[copies[0]].clone()
    labels[copies] = 3
    assert account(replace(built.data, images=images, clean=labels), built.splits).conflicts == 0


def test_the_report_says_what_noisy_and_clean_calib_mean(tmp_path):
    noisy = {"noise": "symmetric", "noise.rate": 0.4}
    for seed in (0, 1):
        tags = {"noise_rate": f"0.{40 + seed}", "noise_rate_val": "0.38"}
        write_run(tmp_path, "ce", seed, tags=tags, **noisy)
        clean = tags | {"noise_rate_val": "0.0000"}
        write_run(tmp_path, "ce", seed, tags=clean, **noisy, **{"noise.val": "clean"})
        write_run(tmp_path, "ce", seed)
    clean, alike, clean_val = compare(load_runs(tmp_path))
    assert not any(note.startswith("Noise:") for note in facts(clean))
    (note,) = [note for note in facts(alike) if note.startswith("Noise:")]
    assert "40.0 to 41.0 % of the labels of train were changed, and 38.0 % of those of val" in note
    assert "fitted to noisy labels" in note
    (note,) = [note for note in facts(clean_val) if note.startswith("Noise:")]
    assert "whoever has noisy ones lacks" in note
