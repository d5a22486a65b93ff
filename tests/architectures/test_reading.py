"""A state dict becomes the network that it was saved of, or one line says what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoovet
from zoovet.architectures import ARCHITECTURES, match, read_module
from zoovet.errors import ZoovetError
from zoovet.readers import FileContent

Reference = Callable[[str], nn.Module]

CASES = [
    ("resnet-a", "resnet:zeros=around", "ResNet-14", (3, 16, 16)),
    ("resnet-a-behind", "resnet8:zeros=behind", "ResNet-8", (3, 16, 16)),
    ("resnet-b", "resnet18", "ResNet-18", (3, 16, 16)),
    ("resnet-downsample", "resnet", "ResNet-18", (3, 16, 16)),
    ("preact", "preact_resnet18", "PreAct-ResNet-18", (3, 16, 16)),
    ("preact-norm", "preact_resnet", "PreAct-ResNet-10", (3, 16, 16)),
    ("wrn", "wrn-16-1", "WRN-16-1", (3, 16, 16)),
    ("wrn-raw", "wrn:shortcut=raw", "WRN-16-1", (3, 16, 16)),
    ("mobilenet", "mobilenet_v2:activation=relu6", "MobileNetV2", (3, 16, 16)),
    ("densenet", "densenet:new=before", "DenseNet-11", (3, 16, 16)),
    ("densenet-behind", "densenet11:new=behind", "DenseNet-11", (3, 16, 16)),
    ("deepid", "deepid", "DeepID-like network", (3, 47, 47)),
    ("vgg-norms", "vgg:activation=elu,pooling=max", "VGG-5 with batch norm", (3, 16, 16)),
    ("vgg-norms", "vgg7:activation=elu,pooling=max", "VGG-5 with batch norm", (3, 16, 16)),
    ("vgg", "vgg6:activation=elu,pooling=max", "VGG-6", (3, 16, 16)),
    ("lenet", "lenet:activation=relu,pooling=average", "LeNet of 2 convolutions", (3, 32, 32)),
    ("small_cnn", "small_cnn:activation=tanh", "small CNN of 2 convolutions", (1, 8, 8)),
    ("mlp", "mlp:activation=gelu", "MLP 64-6-6-3", (1, 8, 8)),
]


def content(module: nn.Module, prefix: str = "", **more: Tensor) -> FileContent:
    return FileContent(tensors={f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()} | more)


@pytest.mark.parametrize(("name", "architecture", "title", "shape"), CASES)
def test_a_public_layout_computes_what_its_network_did(
    name: str, architecture: str, title: str, shape: tuple[int, ...], reference: Reference
) -> None:
    module = reference(name)
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    read = read_module(content(module, "module."), architecture, "f.pth", image=shape)
    assert (read.title, read.input_shape) == (title, shape)
    with torch.no_grad():
        expected, got = module(images), read.module(images)
    assert expected.std() > 1e-3
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5)
    has_counters = any(key.endswith("num_batches_tracked") for key in module.state_dict())
    assert any("num_batches_tracked" in note for note in read.notes) == has_counters


@pytest.mark.parametrize("family", ["resnet", "vgg", "lenet", "mlp", "densenet", "mobilenet_v2"])
def test_each_choice_of_what_is_open_is_named_and_accepted(family: str, reference: Reference) -> None:
    name = {"resnet": "resnet-a", "mobilenet_v2": "mobilenet"}.get(family, family)
    held = content(reference(name))
    with pytest.raises(ZoovetError, match="no name or shape tells: give --architecture") as refused:
        read_module(held, family, "f.pth")
    form = str(refused.value).split("--architecture ")[1].split(" (")[0]
    assert form.startswith(f"{family}:")
    assert read_module(held, form, "f.pth").module is not None


def test_one_more_choice_keeps_what_was_chosen_in_the_form(reference: Reference) -> None:
    with pytest.raises(ZoovetError, match=r"give --architecture vgg:activation=elu,pooling=max,image=8 "):
        read_module(content(reference("vgg-norms")), "vgg:activation=elu", "f.pth")


def test_without_a_name_only_what_names_and_shapes_settle_is_read(reference: Reference) -> None:
    read = read_module(content(reference("wrn")), None, "f.pth", image=(3, 16, 16))
    assert read.title == "WRN-16-1"
    assert read.notes[-1] == "read as WRN-16-1 by its names and shapes (--architecture wrn)"
    with pytest.raises(ZoovetError, match="activation and pooling no name or shape tells"):
        read_module(content(reference("vgg-norms")), None, "f.pth", image=(3, 16, 16))
    with pytest.raises(ZoovetError, match=r"no built-in architecture by names and shapes .*my_net.py:make"):
        read_module(FileContent(tensors={"a.weight": torch.ones(2, 3, 4)}), None, "f.pth")


def test_each_reference_is_found_among_all_families(reference: Reference) -> None:
    for name, architecture, title, shape in CASES:
        held = {key: tensor for key, tensor in reference(name).state_dict().items() if not key.endswith("_tracked")}
        found = {candidate.family: candidate.title for candidate in match(held, shape[1:])}
        family = next(family for family in ARCHITECTURES if architecture.startswith(family))
        assert found.get(family) == title, name


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("resnet20", "is no resnet20: it is a ResNet-18: its depth is 18, not 20; it may be a ResNet-18"),
        ("wrn", "is no wrn: it has batch norms that are not before their convolutions"),
        ("rsenet", "'rsenet' is unknown; did you mean 'resnet'?"),
        ("resnet:zero=around", "resnet has no option 'zero'; did you mean 'zeros'?"),
        ("resnet:zeros=arround", "resnet:zeros=arround is no choice; did you mean 'around'?"),
        ("resnet:image=0", "resnet:image must be as 32 or 32x48, got '0'"),
        ("a\x1b[2J", r"'a\x1b[2J' is unknown"),
    ],
)
def test_a_wrong_name_is_one_line_that_says_what_is_right(
    architecture: str, message: str, reference: Reference
) -> None:
    with pytest.raises(ZoovetError) as refused:
        read_module(content(reference("resnet-b")), architecture, "f.pth", image=(3, 16, 16))
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


def test_every_tensor_has_its_place_or_nothing_is_read(reference: Reference) -> None:
    module = reference("resnet-b")
    with pytest.raises(ZoovetError, match=r"it has layer1.0.extra \(2\), which has no place in it"):
        read_module(content(module, **{"layer1.0.extra": torch.ones(2)}), "resnet", "f", image=(3, 16, 16))
    less = {key: tensor for key, tensor in module.state_dict().items() if key != "layer2.1.bn2.bias"}
    with pytest.raises(ZoovetError, match=r"it lacks layer2.1.bn2.bias \(6\)"):
        read_module(FileContent(tensors=less), "resnet", "f", image=(3, 16, 16))
    read = read_module(content(module, **{"criterion.weight": torch.ones(5)}), "resnet", "f", image=(3, 16, 16))
    assert "left out, as a loss's: criterion.weight" in read.notes
    with pytest.raises(ZoovetError, match=r"reads images of 3×16×16 .*, given are 1×16×16"):
        read_module(content(module), "resnet", "f", image=(1, 16, 16))
    broken = {key: tensor * torch.nan for key, tensor in module.state_dict().items() if tensor.dim()}
    with pytest.raises(ZoovetError, match="NaN or infinite"):
        read_module(FileContent(tensors=broken), "resnet", "f", image=(3, 16, 16))


def test_an_order_that_names_leave_open_is_not_guessed(reference: Reference) -> None:
    widths = {"b.weight": (64, 9), "left.weight": (9, 9), "right.weight": (9, 9), "z.weight": (9, 3)}
    tensors = {name: torch.ones(shape[1], shape[0]) for name, shape in widths.items()}
    with pytest.raises(ZoovetError, match=r"in which order left 9×9, right 9×9 run is open; --architecture my_net"):
        read_module(FileContent(tensors=tensors, ordered=False), "mlp:activation=relu", "f.safetensors")


def test_normalizing_buffers_say_the_scaling_and_sequences_inside_are_found(reference: Reference) -> None:
    class Normalize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]))
            self.register_buffer("std", torch.tensor([0.2, 0.2, 0.2]))

    read = read_module(content(nn.Sequential(Normalize(), reference("wrn"))), "wrn", "f", image=(3, 16, 16))
    assert read.scaling is not None
    assert read.scaling.mean == pytest.approx((0.5, 0.4, 0.3))


def test_several_state_dicts_in_a_file_give_the_plain_one_that_fits(reference: Reference) -> None:
    first, second = reference("wrn").state_dict(), reference("mlp").state_dict()
    tensors = {f"head.{key}": one for key, one in second.items()} | {f"net.{key}": one for key, one in first.items()}
    held = FileContent(tensors=tensors, parts=("head.", "net."))
    read = read_module(held, "wrn", "f", image=(3, 16, 16))
    assert read.notes[0] == "read is 'net'; beside it the file holds 'head'"


@pytest.mark.parametrize("names", [("teacher.", "student."), ("net_best.", "net_last.")])
def test_of_two_networks_that_fit_and_differ_none_is_read(reference: Reference, names: tuple[str, str]) -> None:
    weights = reference("wrn").state_dict()
    changed = {key: one + 1 if key.endswith("bias") else one for key, one in weights.items()}
    both = [
        {f"{name}{key}": one for key, one in own.items()} for name, own in zip(names, (weights, changed), strict=True)
    ]
    held = FileContent(tensors=both[0] | both[1], parts=names)
    message = rf"f holds several networks that fit, '{names[0][:-1]}' and '{names[1][:-1]}': save the one that is meant"
    with pytest.raises(ZoovetError, match=message):
        read_module(held, "wrn", "f", image=(3, 16, 16))


def test_an_average_beside_the_weights_that_are_read_is_named(reference: Reference) -> None:
    weights = reference("wrn").state_dict()
    tensors = {f"{name}{key}": one for name in ("model.", "model_ema.") for key, one in weights.items()}
    read = read_module(FileContent(tensors=tensors, parts=("model.", "model_ema.")), "wrn", "f", image=(3, 16, 16))
    assert read.notes[0].startswith("read is 'model'; beside it the file holds 'model_ema': whoever loads an average")


def test_ones_own_file_is_run_because_it_was_named(tmp_path: Path) -> None:
    own = tmp_path / "my_net.py"
    own.write_text("from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))\n")
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    read = read_module(content(module), f"{own}:make", "f", image=(3, 2, 2))
    images = torch.randn(2, 3, 2, 2)
    assert torch.equal(read.module(images), module(images))
    for name, message in (("mak", "has no 'mak' to call; did you mean 'make'"), ("nn", "has no 'nn' to call")):
        with pytest.raises(ZoovetError, match=message):
            read_module(content(module), f"{own}:{name}", "f", image=(3, 2, 2))
    with pytest.raises(ZoovetError, match=r"it lacks 1.weight"):
        read_module(FileContent(tensors={"2.weight": torch.ones(3, 12)}), f"{own}:make", "f", image=(3, 2, 2))
    with pytest.raises(ZoovetError, match=r"is not known: give images of that size \(--images\), --input-shape"):
        read_module(content(module), f"{own}:make", "f")
    own.write_text("def make():\n    raise OSError('a\\nb')\n")
    with pytest.raises(ZoovetError, match=r"failed, OSError: a\\nb"):
        read_module(content(module), f"{own}:make", "f", image=(3, 2, 2))
    with pytest.raises(ZoovetError, match="there is no file"):  # rather than that its images' size is not known
        read_module(content(module), f"{own}x.py:make", "f")


@pytest.mark.parametrize("wrapping", ["", "module.", "model.module."])
def test_ones_own_network_may_lie_whole_in_one_attribute(tmp_path: Path, wrapping: str) -> None:
    own = tmp_path / "my_net.py"
    own.write_text(
        "from torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))\n"
        "    def forward(self, x):\n        return self.net(x)\n"
    )
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).eval()
    read = read_module(content(net, f"{wrapping}net."), f"{own}:Net", "f", image=(3, 2, 2))
    images = torch.randn(2, 3, 2, 2)
    assert torch.equal(read.module(images), net(images))
    with pytest.raises(ZoovetError, match=r"it lacks net\.3\.weight"):
        read_module(content(net[:3], f"{wrapping}net."), f"{own}:Net", "f", image=(3, 2, 2))


_VERSIONED = """
from torch import nn

class Net(nn.Sequential):
    _version = 2

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        if metadata.get("version", 1) < VERSION:
            raise ValueError("too\\nold")
        super()._load_from_state_dict(state, prefix, metadata, *rest)

def make():
    return Net(nn.Flatten(), nn.Linear(12, 3))
"""


def test_a_module_that_asks_for_its_version_gets_it_and_whatever_it_raises_is_a_line(tmp_path: Path) -> None:
    own, module = tmp_path / "my_net.py", nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    own.write_text(_VERSIONED.replace("VERSION", "2"))
    images = torch.randn(2, 3, 2, 2)
    read = read_module(content(module), f"{own}:make", "f", image=(3, 2, 2))
    assert torch.equal(read.module(images), module(images))
    own.write_text(_VERSIONED.replace("VERSION", "3"))
    with pytest.raises(ZoovetError, match=r"^f does not fit .*my_net.py:make: too\\nold$"):
        read_module(content(module), f"{own}:make", "f", image=(3, 2, 2))


_INDEXED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Parameter(torch.randn(4, 12)), nn.Linear(12, 3)
        self.register_buffer("index", torch.tensor([3, 1]))

    def forward(self, x):
        return self.head(x.flatten(1) + self.table[self.index].sum(0))
"""


def test_whole_numbers_are_read_where_a_module_has_such(tmp_path: Path) -> None:
    own, names = tmp_path / "my_net.py", dict[str, Any]()
    own.write_text(_INDEXED)
    exec(compile(_INDEXED, "net", "exec"), names)
    module = names["Net"]()
    module.index.copy_(torch.tensor([0, 2]))
    read = read_module(content(module), f"{own}:Net", "f", image=(3, 2, 2))
    images = torch.randn(2, 3, 2, 2)
    assert torch.equal(read.module(images), module(images))
    broken = FileContent(tensors=module.state_dict() | {"head.bias": torch.tensor([1, 2, 3])})
    with pytest.raises(ZoovetError, match=r"'head.bias' is of int64"):
        read_module(broken, f"{own}:Net", "f", image=(3, 2, 2))


def _of_another_torch(name: str) -> Any:
    raise RuntimeError("operator nms does not exist")


def test_libraries_are_asked_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    library: Any = ModuleType("timm")
    library.list_models = lambda: ["tiny"]
    library.create_model = lambda name, pretrained, num_classes=1000: nn.Sequential(nn.Linear(4, num_classes))
    monkeypatch.setitem(sys.modules, "timm", library)
    module = nn.Sequential(nn.Linear(4, 7))
    read = read_module(content(module), "timm:tiny", "f", image=(1, 2, 2))
    assert torch.equal(read.module(torch.ones(1, 4)), module(torch.ones(1, 4)))
    with pytest.raises(ZoovetError, match="timm knows no 'tny'; did you mean 'tiny'"):
        read_module(content(module), "timm:tny", "f", image=(1, 2, 2))
    assert read_module(content(module), "TIMM:tiny", "f", image=(1, 2, 2)).title == "TIMM:tiny"
    for wrong in ("timn:tiny", "imm:tiny", "TIM: tiny"):
        with pytest.raises(ZoovetError, match=r"is unknown; did you mean 'timm:'\?; or give FILE.py:FUNCTION"):
            read_module(content(module), wrong, "f")
    with pytest.raises(ZoovetError, match=r"'tochvision' is unknown; did you mean 'torchvision:'\?"):
        read_module(content(module), "tochvision:resnet18", "f")
    monkeypatch.setattr("zoovet.architectures.external._library", _of_another_torch)
    with pytest.raises(ZoovetError, match=r"imported \(operator nms does not exist\): install the timm that fits this"):
        read_module(content(module), "timm:tiny", "f")
    monkeypatch.undo()
    for name in ("torchvision", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ZoovetError, match=f"needs {name}, which cannot be imported.*: pip install {name}"):
            read_module(content(module), f"{name}:resnet18", "f")  # before its images' size is asked for


def test_a_network_of_features_is_read_by_their_number(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(12, 5))\n")
    torch.save(nn.Sequential(nn.Linear(12, 5)).state_dict(), tmp_path / "flat.pt")
    network = zoovet.read(tmp_path / "flat.pt", architecture=f"{tmp_path / 'own.py'}:make", input_shape=(12,))
    assert network.input_shape == (12,)


def test_a_part_of_a_network_says_where_the_whole_is(reference: Reference) -> None:
    tensors = dict(list(reference("resnet-b").state_dict().items())[:9])
    part = "models/model-00001-of-00003.safetensors"
    whole = r"is one of 3 parts of a network: give their index, model\.safetensors\.index\.json$"
    with pytest.raises(ZoovetError, match=whole):
        read_module(FileContent(tensors=tensors), None, part)


def test_kinds_of_numbers_that_no_weights_have_are_named_before_names_are_looked_at(reference: Reference) -> None:
    tensors = reference("resnet-b").state_dict()
    for dtype in (torch.complex64, torch.int8, torch.bool):
        odd = {name: tensor.to(dtype) for name, tensor in tensors.items() if tensor.is_floating_point()}
        with pytest.raises(ZoovetError, match=rf"tensor 'conv1.weight' is of {str(dtype)[6:]}; weights are dense real"):
            read_module(FileContent(tensors={**odd, "more": torch.ones(2, 2)}), None, "f")
