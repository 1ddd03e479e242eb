"""Nets that begin with the weights of a file: what is read, what fits, what is said and hashed."""

import argparse
import json
import pickle
import shutil
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from xent_bench.config.configure import ConfigError
from xent_bench.config.first_weights import FirstWeights, first_weights
from xent_bench.config.identity import run_folder, run_key, science
from xent_bench.config.net_options import NetOptions
from xent_bench.config.parts import resolve
from xent_bench.failures import DataError
from xent_bench.models.linear import linear
from xent_bench.models.mlp import mlp
from xent_bench.pretrained.build import begin
from xent_bench.pretrained.images import as_weights_want, remark_on_classes
from xent_bench.pretrained.read import read_weights
from xent_bench.runs.result import load_run
from xent_bench.trained_net import load
from xent_bench.training.run import run

SHAPE = (1, 4, 4)
TINY = partial(mlp, width=6, depth=1)


def written(file: Path, content, **how) -> Path:
    torch.save(content, file, **how)
    return file


def begun(file: Path, model=TINY, shape=SHAPE, classes=3, *, strict=True, seed=0, entry=None):
    weights = FirstWeights(str(file), file, sha256(file.read_bytes()).hexdigest())
    options = NetOptions(strict=strict, entry=entry)
    return begin(model, shape, classes, seed, options=options, weights=weights)


def begun_at_random(model=TINY, shape=SHAPE, classes=3, seed=0):
    return begin(model, shape, classes, seed, options=NetOptions(), weights=None).net


@pytest.fixture
def state():
    torch.manual_seed(9)
    return TINY(SHAPE, 3).state_dict()


def prefixed(state, prefix):
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


FORMS = {
    "plain": lambda state: state,
    "under state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "under model": lambda state: {"model": state, "args": argparse.Namespace(lr=0.1)},
    "under model_state_dict": lambda state: {"model_state_dict": state, "loss": 0.5},
    "of DataParallel": lambda state: prefixed(state, "module."),
    "of Lightning": lambda state: {"state_dict": prefixed(state, "net."), "loops": {}},
    "of a backbone": lambda state: prefixed(state, "backbone."),
    "of a compiled net": lambda state: {"model": prefixed(state, "module._orig_mod.")},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zipped", "of PyTorch before 1.6"])
def test_a_state_dict_is_taken_however_it_was_saved(tmp_path, state, form, zipped):
    how = {"_use_new_zipfile_serialization": zipped}
    file = written(tmp_path / "net.pth", FORMS[form](state), **how)
    net, line = begun(file)

    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert line == f"{file}: 4 of the net's 4 tensors"


AVERAGED_BESIDE = {
    "timm's": ("state_dict_ema", "state_dict"),
    "DeiT's": ("model_ema", "model"),
}


@pytest.mark.parametrize("names", AVERAGED_BESIDE.values(), ids=AVERAGED_BESIDE)
def test_averaged_weights_are_taken_before_the_others_which_a_key_takes(tmp_path, state, names):
    averaged = {name: tensor / 2 for name, tensor in state.items()}
    content = {names[1]: state, names[0]: averaged, "optimizer": {"state": {0: {"step": 1}}}}
    file = written(tmp_path / "last.pth.tar", content)
    net, line = begun(file)
    others, other_line = begun(file, entry=names[1])

    assert torch.equal(net[1].weight, averaged["1.weight"])
    way_out = f"model.entry={names[1]} takes it"
    assert line == f"{file}: {names[0]} of the file and not {names[1]} ({way_out}): " + (
        "4 of the net's 4 tensors"
    )
    assert torch.equal(others[1].weight, state["1.weight"])
    assert f"{names[1]} of the file and not {names[0]}" in other_line


def test_averaged_weights_are_those_that_timm_takes(tmp_path, state):
    timm_helpers = pytest.importorskip("timm.models")
    content = {"state_dict": state, "state_dict_ema": {n: t / 2 for n, t in state.items()}}
    file = written(tmp_path / "last.pth.tar", content)
    theirs, ours = timm_helpers.load_state_dict(str(file)), read_weights(file).tensors

    assert theirs.keys() == ours.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name])


def test_weights_that_pytorch_averaged_are_taken_without_their_counter(tmp_path, state):
    averaged = torch.optim.swa_utils.AveragedModel(TINY(SHAPE, 3))
    file = written(tmp_path / "net.pt", {"model": state, "model_ema": averaged.state_dict()})

    assert torch.equal(begun(file).net[1].weight, averaged.module[1].weight)


def test_weights_under_any_name_are_taken_if_a_key_says_so(tmp_path, state):
    half = {name: tensor / 2 for name, tensor in state.items()}
    center = {"center": torch.ones(1)}
    file = written(tmp_path / "d.pth", {"teacher": state, "student": half, "dino_loss": center})

    net, line = begun(file, entry="teacher")
    assert torch.equal(net[1].weight, state["1.weight"])
    assert "teacher of the file and not student (" in line
    with pytest.raises(DataError, match=r"model.entry=x: .* has teacher, student, dino_loss$"):
        begun(file, entry="x")
    with pytest.raises(DataError, match=r"has no weights under a name$"):
        begun(written(tmp_path / "flat.pt", state), entry="model")


def test_safetensors_are_taken_too(tmp_path, state):
    save_file(state, tmp_path / "net.safetensors")

    assert torch.equal(begun(tmp_path / "net.safetensors").net[1].weight, state["1.weight"])


def test_half_precision_becomes_that_of_the_net(tmp_path, state):
    file = written(tmp_path / "net.pt", {name: tensor.half() for name, tensor in state.items()})
    net = begun(file).net

    assert torch.equal(net[1].weight, state["1.weight"].half().float())


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


def as_early_pytorch(numel: int) -> bytes:
    """A file of PyTorch before version 1.6 whose one tensor claims to have so many numbers."""

    class Storage:
        """Pickled as torch pickles a storage: by a persistent id."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", numel, None)
            return None

    class Tensor:
        def __reduce__(self):
            rebuild = torch._utils._rebuild_tensor_v2
            return (rebuild, (Storage(), 0, (2,), (1,), False, OrderedDict()))

    import io

    content = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(value, content, protocol=2)
    Pickler(content, protocol=2).dump(OrderedDict(weight=Tensor()))
    pickle.dump(["0"], content, protocol=2)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "cannot read"),
        (b"not a file of PyTorch", "cannot read"),
        (pickle.dumps({"state_dict": Bomb()}), "cannot read"),
        (as_early_pytorch(10**13), "asks for 10,000,000,000,000 numbers"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a pointer of git-lfs"),
        (b"\n<!DOCTYPE html><html>404</html>", "a page of HTML or XML, as a failed download"),
    ],
    ids=["empty", "text", "code", "a huge claim", "a pointer", "a page"],
)
def test_a_file_that_is_no_net_is_refused_and_runs_nothing(tmp_path, content, complaint):
    file = tmp_path / "net.pth"
    file.write_bytes(content)

    with pytest.raises(DataError, match=complaint):
        read_weights(file)


def test_code_in_a_zipped_file_is_refused(tmp_path):
    file = written(tmp_path / "net.pt", {"state_dict": {"weight": torch.ones(1)}, "code": Bomb()})

    with pytest.raises(DataError, match=r"expected the tensors of a net, as torch.save"):
        read_weights(file)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"a": 1, "b": "text"}, "it holds no tensors by name but a dict of a, b"),
        ([torch.ones(2)], "it holds no tensors by name but a list"),
        ({"w": torch.ones(2, dtype=torch.complex64)}, "w is no dense tensor"),
    ],
    ids=["values", "a list", "complex"],
)
def test_a_file_without_a_nets_tensors_is_refused(tmp_path, content, complaint):
    with pytest.raises(DataError, match=complaint):
        read_weights(written(tmp_path / "net.pt", content))


def without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: without(s, "1.bias"), r"the file lacks 1 tensors \(1.bias\)"),
        (lambda s: s | {"2.weight": torch.ones(1)}, r"the net has no place for 1 \(2.weight\)"),
        (lambda s: s | {"1.weight": torch.ones(6, 9)}, r"\(6, 16\) for 1.weight, got \(6, 9\)"),
        (lambda s: {"x": s["1.bias"]}, "no tensor of the file is the net's: x"),
        (lambda s: s | {"1.bias": s["1.bias"] * torch.nan}, "got NaN or infinity in 1.bias"),
        (lambda s: s | {"1.bias": s["1.bias"].to(torch.int8)}, "floats for 1.bias, got int8"),
    ],
    ids=["missing", "left over", "another shape", "another net", "not finite", "quantised"],
)
def test_a_file_that_does_not_fit_is_refused_by_its_tensors(tmp_path, state, change, complaint):
    file = written(tmp_path / "net.pt", change(state))

    with pytest.raises(ConfigError, match=complaint) as refusal:
        begun(file)
    assert str(refusal.value).startswith(f"model.weights: {file}: ")


def test_what_is_missing_or_left_over_is_allowed_if_the_user_says_so(tmp_path, state):
    file = written(tmp_path / "net.pt", without(state, "1.bias") | {"2.weight": torch.ones(1)})
    net, line = begun(file, strict=False)

    assert torch.equal(net[1].weight, state["1.weight"])
    assert torch.equal(net[1].bias, begun_at_random()[1].bias)
    assert "lacks 1 tensors (1.bias); the net has no place for 1 (2.weight)" in line


def test_a_file_of_nothing_that_fits_is_refused_even_so(tmp_path):
    with pytest.raises(ConfigError, match="no tensor of the file is the net's: x"):
        begun(written(tmp_path / "net.pt", {"x": torch.ones(1)}), strict=False)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_head_of_other_classes_is_left_out_and_drawn_as_a_net_of_one_layer_is(
    tmp_path, state, seed
):
    file = written(tmp_path / "net.pt", state)
    net, line = begun(file, classes=5, seed=seed)
    alone = begun_at_random(linear, (6, 1, 1), 5, seed)

    assert torch.equal(net[1].weight, state["1.weight"])
    assert torch.equal(net[3].weight, alone[1].weight)
    assert torch.equal(net[3].bias, alone[1].bias)
    assert "the head (3.bias, 3.weight) is left out, since the file's has 3 classes and not" in line


def test_a_file_without_a_head_leaves_it_to_the_seed(tmp_path, state):
    file = written(tmp_path / "net.pt", {k: v for k, v in state.items() if k.startswith("1.")})

    assert "the file has no head (3.bias, 3.weight): it is drawn" in begun(file).line


def test_a_file_that_changed_since_it_was_hashed_is_refused(tmp_path, state):
    file = written(tmp_path / "net.pt", state)
    weights = FirstWeights("net.pt", file, "0" * 64)

    with pytest.raises(DataError, match="has changed while the run began"):
        begin(TINY, SHAPE, 3, 0, options=NetOptions(), weights=weights)


def test_the_key_holds_the_content_and_not_the_path(composed, tmp_path, state):
    first = written(tmp_path / "net.pt", state)
    copy, other = shutil.copy(first, tmp_path / "copy.pt"), tmp_path / "other.pt"
    written(other, state | {"1.bias": torch.ones(6)})
    base = ("model=mlp", "model.width=6", "model.depth=1")
    keys = [run_key(composed(*base, f"model.weights={file}")) for file in (first, copy, other)]
    drawn = composed(*base)

    assert keys[0] == keys[1] != keys[2]
    assert run_key(composed(*base, "model.strict=false", "model.download=true")) == run_key(drawn)
    assert run_key(composed(*base, "model.entry=state_dict")) == run_key(drawn)
    assert run_key(composed(*base, f"model.weights={first}", "model.entry=model")) not in keys
    assert run_key(composed(*base, f"model.weights={first}", "model.strict=false")) not in keys
    digest = sha256(first.read_bytes()).hexdigest()
    assert science(composed(*base, f"model.weights={first}"))["model.weights"] == digest[:16]


def test_a_file_that_is_not_there_is_refused(composed, tmp_path):
    with pytest.raises(DataError, match=r"model.weights: cannot read .*nope.pt: No such file"):
        run_folder(composed(f"model.weights={tmp_path}/nope.pt"))
    with pytest.raises(
        DataError, match=r"which is a folder; that of a run has its weights in weights\.pt"
    ):
        run_folder(composed(f"model.weights={tmp_path}/"))
    with pytest.raises(ConfigError, match="this net has no weights of a library"):
        run_folder(composed("model.weights=default"))


NET = ("data=synthetic", "data.n=300", "data.channels=3", "data.size=16", "batch_size=32")
NET = (*NET, "model=torchvision", "model.name=resnet18", "epochs=1")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """The folder of a ResNet-18 of torchvision that was trained for a few steps and saved."""
    from hydra import compose, initialize_config_dir

    from xent_bench.config.schema import CONF, register_schema

    folder = tmp_path_factory.mktemp("resnet")
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [*NET, "machine=cpu", "machine.threads=1"])
    config.machine.runs, config.machine.offline = str(folder), True
    config.machine.save_weights = True
    run(config)
    return run_folder(config)


def test_a_resnet_is_fine_tuned_from_its_own_file_to_other_classes(
    config, resnet, tmp_path, capsys
):
    file = shutil.copy(resnet / "weights.pt", tmp_path / "copied.pt")
    wanted = config("data.classes=4", f"model.weights={file}", "machine.offline=true", base=NET)
    run(wanted)
    printed = capsys.readouterr().out
    folder = run_folder(wanted)
    result = load_run(folder / "result.json")
    file.unlink()

    assert "120 of the net's 122 tensors; the head (fc.bias, fc.weight) is left out" in printed
    assert result.tags["pretrained"] == str(file)
    assert result.tags["pretrained_sha256"].startswith(result.params["model.weights"])
    assert "is left out" in result.tags["pretrained_fit"]
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    assert load(folder)(images).shape == (2, 4)  # without the file


def test_what_a_net_was_trained_on_is_used_again_with_its_weights(config, resnet):
    base = (*NET, f"model.weights={resnet / 'weights.pt'}")
    wanted = config("data.classes=4", base=base)
    used, parts = as_weights_want(wanted, resolve(wanted))
    preprocessing = load(resnet).record.preprocessing
    typed = config("data.mean=[0.5,0.5,0.5]", "data.std=[0.5,0.5,0.5]", base=base)
    kept, _ = as_weights_want(typed, resolve(typed))

    assert [255 * value for value in used.data.mean] == pytest.approx(preprocessing.mean)
    assert parts.data().std == tuple(used.data.std)
    assert wanted.data.mean is None
    assert kept.data.mean == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("classes", "remark"),
    [
        (("a", "c", "b"), "of other classes, in another order: output 1 was b and is c now"),
        (("a", "b", "d"), "of other classes: output 2 was c and is d now"),
        (("a", "b", "c"), ""),
        (("a", "b"), ""),
    ],
)
def test_a_head_of_as_many_other_classes_is_remarked_on(config, resnet, tmp_path, classes, remark):
    record = json.loads((resnet / "net.json").read_text()) | {"classes": ["a", "b", "c"]}
    del record["sha256"]  # of what it held before
    (tmp_path / "net.json").write_text(json.dumps(record))
    file = shutil.copy(resnet / "weights.pt", tmp_path / "weights.pt")
    weights = resolve(config(f"model.weights={file}", base=NET)).weights

    assert remark_on_classes(weights, classes).endswith(remark)
    assert bool(remark_on_classes(weights, classes)) is bool(remark)


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    """A cache of torch's that holds weights under torchvision's name for them, with their hash."""
    from torchvision.models import ResNet18_Weights, resnet18

    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = written(tmp_path / "resnet18.pth", resnet18().state_dict())
    digest = sha256(file.read_bytes()).hexdigest()
    file = file.rename(tmp_path / f"resnet18-{digest[:8]}.pth")
    offered = ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setattr(offered, "_value_", replace(offered.value, url=file.as_uri()))
    return folder, file


def test_the_librarys_own_weights_are_found_checked_and_downloaded(config, torch_home):
    folder, file = torch_home
    default = config("model.weights=default", base=NET)
    named = config("model.weights=IMAGENET1K_V1", base=NET)
    with pytest.raises(DataError, match=rf"needs {file.name} in {folder}: put it there .*downl"):
        first_weights(default)
    downloaded = first_weights(config("model.weights=default", "model.download=true", base=NET))

    assert downloaded == replaced(first_weights(default))
    assert downloaded.sha256 == sha256(file.read_bytes()).hexdigest()
    assert (folder / file.name).is_file()
    assert run_key(default) == run_key(named)
    (folder / file.name).write_bytes(b"damaged, as it happens")
    with pytest.raises(DataError, match=r"is damaged: expected a SHA-256 that begins with"):
        first_weights(default)
    with pytest.raises(ConfigError, match="did you mean IMAGENET1K_V1"):
        first_weights(config("model.weights=IMAGENET1K_V3", base=NET))


def replaced(weights):
    return weights._replace(typed="default")


def test_images_are_prepared_as_the_librarys_weights_want_them(config, torch_home):
    folder, file = torch_home
    shutil.copy(file, folder)
    wanted = config("model.weights=default", "data.channels=1", base=NET)
    used, parts = as_weights_want(wanted, resolve(wanted))
    smaller = config("model.weights=default", "model.size=32", base=NET)

    assert used.model.size == 224
    assert list(used.data.mean) == [0.485, 0.456, 0.406]
    assert parts.data().mean == (pytest.approx(0.449),)
    assert as_weights_want(smaller, resolve(smaller))[0].model.size == 32
    assert run_key(wanted) != run_key(config("data.channels=1", base=NET))


def test_weights_of_timm_are_read_from_the_cache_of_the_hub(config, tmp_path, monkeypatch):
    import timm
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    base = (*NET[:5], "model=timm", "model.name=test_vit", "model.weights=default")
    with pytest.raises(DataError, match=r"needs model.safetensors in .*models--timm--test_vit"):
        first_weights(config(base=base))
    folder = tmp_path / "models--timm--test_vit.r160_in1k" / "snapshots" / "main"
    folder.mkdir(parents=True)
    net = timm.create_model("test_vit", num_classes=1000)
    save_file(net.state_dict(), folder / "model.safetensors")
    parts = resolve(config(base=base))
    _, parts = as_weights_want(config(base=base), parts)
    smaller = partial(parts.model.func, name="test_vit", size=64)
    options = parts.net_options
    whole = begin(parts.model, (3, 16, 16), 5, 0, options=options, weights=parts.weights)
    small = begin(smaller, (1, 16, 16), 5, 0, options=options, weights=parts.weights)

    assert parts.model.keywords["size"] == 160
    assert torch.equal(whole.net.net.blocks[0].norm1.weight, net.blocks[0].norm1.weight)
    assert torch.equal(whole.net.net.pos_embed, net.pos_embed)
    assert small.net.net.pos_embed.shape[1] == 17  # 4 x 4 patches, interpolated, and the class's
    assert "of 3 channels is adapted to 1" in small.line


def test_a_vision_transformer_of_torchvision_is_interpolated_to_another_size(tmp_path, monkeypatch):
    from torchvision.models import vision_transformer

    from xent_bench.models import torchvision as nets

    def small(image_size=32, num_classes=1000, **_):
        return vision_transformer.VisionTransformer(
            image_size, 16, 1, 2, 8, 16, 0.0, 0.0, num_classes
        )

    monkeypatch.setattr("torchvision.models.get_model_builder", lambda _: small)
    file = written(tmp_path / "vit.pth", small().state_dict())
    net = begun(file, partial(nets.torchvision, name="vit_b_16"), (3, 64, 64), 1000).net

    assert net.encoder.pos_embedding.shape == (1, 17, 8)


class WithWeights(nn.Module):
    def __init__(self, shape: tuple[int, int, int], classes: int, weights: str = "mine"):
        super().__init__()
        self.layers = linear(shape, classes)
        self.weights = weights


def test_a_net_with_a_parameter_of_that_name_gets_it_itself(composed):
    config = composed("model=linear", f"model._target_={__name__}.WithWeights")
    del config.model.download, config.model.strict
    config.model.weights = "theirs"
    parts = resolve(config)

    assert parts.weights is None
    assert parts.model(SHAPE, 2).weights == "theirs"
