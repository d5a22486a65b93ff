"""State dicts of an installed library's networks are known by their names and shapes; a stand-in is the library."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from zoovet.architectures import installed, read_module
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


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    models: Any = ModuleType("torchvision.models")
    models.list_models = lambda module: ["narrow", "wide"]
    models.get_model = _get_model
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr(installed, "_torchvision", installed._torchvision.__wrapped__)


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


@pytest.mark.usefixtures("library")
def test_what_names_and_shapes_leave_open_is_settled_by_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in _vgg11().state_dict().items()}
    content = FileContent(tensors={name: torch.zeros(1).expand(shape) for name, shape in shapes.items()})
    with pytest.raises(
        ZoovetError,
        match=r"f is a VGG-11 whose activation and pooling .*; or --architecture torchvision:vgg11 \(pip install torch",
    ):
        read_module(content, None, "f", image=(3, 224, 224))
    models, num_made = sys.modules["torchvision.models"], list[str]()

    def get_model(name: str, weights: None, **settings: int) -> nn.Module:
        num_made.append(name)
        if len(num_made) > 1:
            raise ValueError("half a gigabyte")
        return _vgg11()

    monkeypatch.setattr(models, "list_models", lambda module: ["vgg11"])
    monkeypatch.setattr(models, "get_model", get_model)
    with pytest.raises(ZoovetError, match=r"^torchvision:vgg11 cannot be made: half a gigabyte$"):
        read_module(content, None, "f", image=(3, 224, 224))


@pytest.mark.usefixtures("library")
def test_of_several_that_fit_one_is_asked_for() -> None:
    models = sys.modules["torchvision.models"]
    models.list_models = lambda module: ["narrow", "twin", "wide"]
    models.get_model = lambda name, weights, **settings: _network("wide" if name == "twin" else name, **settings)
    message = "f has the names and shapes of several networks: give --architecture torchvision:twin or torchvision:wide"
    with pytest.raises(ZoovetError, match=f"^{message}$"):
        read_module(FileContent(tensors=_network("wide", 7).state_dict()), None, "f")


@pytest.mark.usefixtures("library")
def test_other_shapes_are_of_no_network_of_it() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in _network("wide", 7).state_dict().items()}
    assert installed.installed_matches({**shapes, "2.bias": (8,)}) == []
    assert installed.installed_matches({**shapes, "0.bias": (9,)}) == []
    assert installed.installed_matches({**shapes, "more": (8,)}) == []
    with pytest.raises(ZoovetError, match=r"and none of torchvision's; give --architecture my_net.py:make, timm:NAME"):
        read_module(FileContent(tensors=nn.Bilinear(2, 3, 4).state_dict()), None, "f")


def test_without_the_library_none_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    monkeypatch.setattr(installed, "_torchvision", installed._torchvision.__wrapped__)
    assert installed.installed_matches({"2.bias": (8,)}) is None
    with pytest.raises(ZoovetError, match=r"transformers:NAME, or pip install torchvision, whose networks are known"):
        read_module(FileContent(tensors=_network("wide").state_dict()), None, "f")
