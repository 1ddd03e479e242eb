"""The epoch that is evaluated, early stopping, and averaged weights: exact after a power cut."""

import math

import pytest
import torch
from trained_run import untimed

from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_folder, run_key, science
from xent_bench.runs.curves import load_curves
from xent_bench.trained_net.net import load
from xent_bench.trained_net.weights import load_weights
from xent_bench.training.averaging import averaged_copy, averaging
from xent_bench.training.best_epoch import BestEpoch
from xent_bench.training.checkpoint_files import LastingCheckpointIO
from xent_bench.training.run import run

CHOSEN = ("epochs=9", "optimizer.lr=0.05", "choose=best", "patience=2", "ema=0.9")


class PowerCut(BaseException):
    """Ends a run where it stands."""


def test_keys_that_are_left_alone_are_no_part_of_a_runs_key(config):
    assert run_key(config("choose_by=val/top1")) == run_key(config())
    assert "choose_by" not in science(config())
    assert science(config("patience=3"))["choose_by"] == "val/nll"
    assert run_key(config("ema=0.9")) != run_key(config("choose=best")) != run_key(config())


def test_the_earlier_of_equal_epochs_is_the_best_and_patience_counts_from_it():
    best = BestEpoch("val/top1", keeps=False, patience=2)
    stops = []
    for value in (0.5, 0.7, 0.7, math.nan):
        best.see({"val/top1": value}, torch.nn.Linear(1, 1))
        stops.append(best.stops)

    assert best.best.epoch == 2
    assert stops == [False, False, False, True]


def test_a_run_that_chooses_and_is_cut_anywhere_ends_with_the_same_bits(config, monkeypatch):
    straight, cut = config(*CHOSEN, folder="straight"), config(*CHOSEN, folder="cut")
    expected = run(straight)
    save = LastingCheckpointIO.save_checkpoint
    monkeypatch.setattr("xent_bench.training.saving.MAX_SHARE", math.inf)

    def save_and_cut(*arguments: object, **options: object) -> None:
        save(*arguments, **options)
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(LastingCheckpointIO, "save_checkpoint", save_and_cut)
        for _ in range(int(expected["tags"]["epochs_trained"])):
            with pytest.raises(PowerCut):
                run(cut)
    again = run(cut)

    curves = load_curves(run_folder(straight))
    best = min(curves, key=lambda step: curves[step]["val/nll"])
    assert expected["tags"]["chosen_epoch"] == str(best)
    assert expected["tags"]["epochs_trained"] == str(len(curves)) == str(best + 2)
    assert expected["tags"]["stopped_early"] == "true"
    assert expected["metrics"]["val/nll"] == curves[best]["val/nll"]
    assert again["metrics"] == expected["metrics"]
    assert again["tags"]["weights_sha256"] == expected["tags"]["weights_sha256"]
    assert untimed(cut) == untimed(straight)
    load(run_folder(straight))  # refuses weights that are not those that were tested


def test_a_hinge_has_no_nll_to_choose_by(config):
    with pytest.raises(ConfigError, match=r"choose_by: there is no val/nll.*choose_by=val/top1"):
        run(config("loss=hinge", "choose=best"))


def test_averages_follow_the_decay_with_a_short_memory_at_first():
    net = torch.nn.Linear(3, 2)
    averaged = averaged_copy(net)
    expected = net.weight.detach().clone()
    update = averaging(averaged, net, 0.5)
    for step in range(20):
        with torch.no_grad():
            net.weight.add_(torch.randn(2, 3))
        update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * net.weight.detach()

    torch.testing.assert_close(averaged.weight, expected)


def test_averaged_weights_are_those_that_are_kept(config):
    wanted = config("ema=0.9")
    run(wanted)
    checkpoint = torch.load(sorted(run_folder(wanted).glob("*.ckpt"))[-1], weights_only=True)
    kept, _ = load_weights(run_folder(wanted))

    for name, weight in kept.items():
        assert torch.equal(weight, checkpoint["state_dict"][f"averaged.{name}"])
        assert not torch.equal(weight, checkpoint["state_dict"][f"net.{name}"])
