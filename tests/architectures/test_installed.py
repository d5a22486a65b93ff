"""State dicts of a library's networks are known by their names and shapes; a stand-in is the installed library."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from zoovet.architectures import OpenArchitecture, installed, read_module
from zoovet.architectures.installed import library_matches
from zoovet.architectures.library_index import indexed_names, library_index
from zoovet.errors import ZoovetError
from zoovet.readers.content import FileContent


def _network(name: str, num_classes: int = 1000) -> nn.Module:
    width = {"narrow": 4, "wide": 8}[name]
    depth = int(torch.arange(1, 2).sum())  # sizes are calculated, as RegNets calculate theirs
    layers = nn.Conv2d(width, num_classes, depth), nn.Flatten(2)
    return nn.Sequential(nn.ConvTranspose2d(3, width, 3), nn.BatchNorm2d(width), *layers)


def _get_model(name: str, weights: None, **settings: int) -> nn.Module:
    warnings.warn("the next version draws other numbers", FutureWarning, stacklevel=1)
    return _network(name, **settings)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library is installed, and what was found of one before is not known any more."""
    monkeypatch.setattr(installed, "_version", lambda library: None)
    for name in ("_names", "shapes_of"):
        monkeypatch.setattr(installed, name, getattr(installed, name).__wrapped__)
    for library in ("torchvision", "timm"):
        monkeypatch.setitem(sys.modules, library, None)


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    models: Any = ModuleType("torchvision.models")
    models.list_models = lambda module: ["narrow", "wide"]
    models.get_model = _get_model
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr(installed, "_version", lambda library: "0.0.1" if library == "torchvision" else None)


@pytest.mark.usefixtures("library")
def test_the_library_s_network_is_named_whatever_its_classes() -> None:
    tensors = _network("wide", 7).state_dict()
    read = read_module(FileContent(tensors=tensors), "torchvision:wide", "f", image=(3, 4, 4))
    assert (read.title, read.notes[-1][:9]) == ("torchvision:wide", "left out:")
    found = read_module(FileContent(tensors=tensors), None, "f", image=(3, 4, 4))
    assert found.title == "torchvision:wide"
    note = "read as torchvision:wide by its names and shapes (--architecture torchvision:wide)"
    assert found.notes == (*read.notes, note)
    assert torch.equal(found.module(torch.ones(1, 3, 4, 4)), read.module(torch.ones(1, 3, 4, 4)))
    with pytest.raises(ZoovetError, match="the size that torchvision:wide reads is not known: give "):
        read_module(FileContent(tensors=tensors), None, "f")


def _vgg11() -> nn.Module:
    """torchvision's, by its tensors."""
    places = {0: 64, 3: 128, 6: 256, 8: 256, 11: 512, 13: 512, 16: 512, 18: 512}
    features, incoming = nn.Sequential(*(nn.ReLU() for _ in range(21))), 3
    for place, channels in places.items():
        features[place], incoming = nn.Conv2d(incoming, channels, 3, 1, 1), channels
    sizes = (nn.Linear(25088, 4096), nn.ReLU(), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.ReLU())
    return nn.ModuleDict({"features": features, "classifier": nn.Sequential(*sizes, nn.Linear(4096, 1000))})


def _content(shapes: Mapping[str, Sequence[int]]) -> FileContent:
    return FileContent(tensors={name: torch.zeros(()).expand(tuple(shape)) for name, shape in shapes.items()})


def _vgg11_shapes() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in _vgg11().state_dict().items()}


@pytest.mark.usefixtures("no_library")
def test_what_names_and_shapes_leave_open_a_library_would_settle() -> None:
    with pytest.raises(
        ZoovetError,
        match=r"f is a VGG-11 whose activation and pooling .*; or --architecture torchvision:vgg11 \(pip install torch",
    ):
        read_module(_content(_vgg11_shapes()), None, "f", image=(3, 224, 224))


@pytest.mark.usefixtures("library")
def test_what_names_and_shapes_leave_open_is_settled_by_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    models, num_made = sys.modules["torchvision.models"], list[str]()

    def get_model(name: str, weights: None, **settings: int) -> nn.Module:
        num_made.append(name)
        if len(num_made) > 1:
            raise ValueError("half a gigabyte")
        return _vgg11()

    monkeypatch.setattr(models, "list_models", lambda module: ["vgg11"])
    monkeypatch.setattr(models, "get_model", get_model)
    with pytest.raises(ZoovetError, match=r"^torchvision:vgg11 cannot be made: half a gigabyte$"):
        read_module(_content(_vgg11_shapes()), None, "f", image=(3, 224, 224))


@pytest.mark.usefixtures("library")
def test_of_several_that_fit_those_that_compute_the_same_are_one() -> None:
    models: Any = sys.modules["torchvision.models"]
    kinds = {"narrow": nn.Identity, "twin": nn.Identity, "wide": nn.Identity, "odd": nn.Tanh}
    models.list_models = lambda module: [*kinds]

    def get_model(name: str, weights: None, **settings: int) -> nn.Module:
        return nn.Sequential(*_network("narrow" if name == "narrow" else "wide", **settings), kinds[name]())

    models.get_model = get_model
    content, named = FileContent(tensors=get_model("odd", None, num_classes=7).state_dict()), "torchvision:"
    choice = rf"^f has the names and shapes of several networks: give --architecture {named}twin or {named}"
    with pytest.raises(OpenArchitecture, match=choice + r"wide or torchvision:odd; or images of that size"):
        read_module(content, None, "f")  # nothing to run them on
    with pytest.raises(OpenArchitecture, match=choice + "odd$") as refusal:
        read_module(content, None, "f", image=(3, 4, 4))
    assert refusal.value.choices == ("torchvision:twin", "torchvision:odd")
    models.list_models = lambda module: ["narrow", "twin", "wide"]
    read = read_module(content, None, "f", image=(3, 4, 4))
    assert read.title == "torchvision:twin"
    assert read.notes[-1].endswith(
        "--architecture torchvision:twin); of other names, computing the same: torchvision:wide"
    )


@pytest.mark.usefixtures("library")
def test_other_shapes_are_of_no_network_of_it() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in _network("wide", 7).state_dict().items()}
    assert library_matches(shapes).fitting == ("torchvision:wide",)
    assert library_matches({**shapes, "2.bias": (8,)}).fitting == ()
    assert library_matches({**shapes, "0.bias": (9,)}).fitting == ()
    assert library_matches({**shapes, "more": (8,)}).fitting == ()


def _vit_small_patch32(num_classes: int) -> dict[str, tuple[int, ...]]:
    """timm's vit_small_patch32_224, by its tensors."""
    width = 384
    sizes = {"attn.qkv": (3 * width, width), "attn.proj": (width, width), "mlp.fc1": (4 * width, width)}
    sizes |= {"mlp.fc2": (width, 4 * width), "norm1": (width,), "norm2": (width,)}
    layers = {f"blocks.{block}.{name}": size for block in range(12) for name, size in sizes.items()}
    layers |= {"patch_embed.proj": (width, 3, 32, 32), "norm": (width,), "head": (num_classes, width)}
    return {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 50, width),
        **{f"{name}.weight": size for name, size in layers.items()},
        **{f"{name}.bias": size[:1] for name, size in layers.items()},
    }


def _resnet18(num_classes: int) -> dict[str, tuple[int, ...]]:
    """torchvision's resnet18, by its tensors."""
    convs: dict[str, tuple[int, ...]] = {"conv1": (64, 3, 7, 7)}
    incoming = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            name = f"layer{stage + 1}.{block}"
            convs |= {f"{name}.conv1": (width, incoming, 3, 3), f"{name}.conv2": (width, width, 3, 3)}
            if width != incoming:
                convs[f"{name}.downsample.0"] = (width, incoming, 1, 1)
            incoming = width
    shapes = {f"{name}.weight": size for name, size in convs.items()}
    for name, size in convs.items():
        norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1")
        shapes |= {f"{norm}.{role}": size[:1] for role in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes | {"fc.weight": (num_classes, 512), "fc.bias": (num_classes,)}


@pytest.mark.usefixtures("no_library")
def test_without_libraries_the_index_says_what_to_install() -> None:
    with pytest.raises(
        ZoovetError, match=r"^f has the names and shapes of timm:vit_small_patch32_224: pip install timm$"
    ):
        read_module(_content(_vit_small_patch32(7)), None, "f", image=(3, 224, 224))
    unknown = r"^f holds .*, and none of torchvision's \(0\.28\.0\) or timm's \(1\.0\.31\); give --architecture my_net"
    with pytest.raises(ZoovetError, match=unknown):
        read_module(_content(_vit_small_patch32(7) | {"more": (3, 3)}), None, "f", image=(3, 224, 224))


@pytest.mark.usefixtures("no_library")
def test_a_built_in_architecture_says_which_networks_have_its_names_and_shapes_too() -> None:
    names = "torchvision:resnet18, timm:resnet18, timm:resnetblur18"
    assert indexed_names(_resnet18(1000)) == tuple(names.split(", "))
    read = read_module(_content(_resnet18(10)), None, "f", image=(3, 64, 64))
    said = "read as ResNet-18 by its names and shapes (--architecture resnet)"
    assert read.notes[-1] == f"{said}; {names} have these too"
    with pytest.raises(OpenArchitecture, match=r"is a ResNet-18 whose image no name or shape tells.*224\)$"):
        read_module(_content(_resnet18(10)), None, "f")


def test_an_installed_timm_is_as_the_index_says() -> None:
    timm = pytest.importorskip("timm", exc_type=Exception)
    if timm.__version__ != library_index()["timm"].version:
        pytest.skip("the index is another version's")
    for name in ("test_vit", "test_resnet", "vit_tiny_r_s16_p8_224"):  # the last one runs a part when it is made
        tensors = {f"module.{key}": one for key, one in timm.create_model(name, num_classes=7).state_dict().items()}
        assert library_matches({key: tuple(one.shape) for key, one in tensors.items()}).fitting == (f"timm:{name}",)
