"""State dicts of an installed library's networks are known by their names and shapes; a stand-in is the library."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from torch import nn

from zoovet.architectures import installed, read_module
from zoovet.errors import ZoovetError
from zoovet.readers.content import FileContent


def _network(name: str, num_classes: int = 1000) -> nn.Module:
    width = {"narrow": 4, "wide": 8}[name]
    return nn.Sequential(nn.ConvTranspose2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, num_classes, 1))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    models: Any = ModuleType("torchvision.models")
    models.list_models = lambda module: ["narrow", "wide"]
    models.get_model = lambda name, weights, **settings: _network(name, **settings)
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr(installed, "_torchvision", installed._torchvision.__wrapped__)


@pytest.mark.usefixtures("library")
def test_the_library_s_network_is_named_whatever_its_classes() -> None:
    tensors = _network("wide", 7).state_dict()
    message = "f has the names and shapes of torchvision:wide: give --architecture torchvision:wide"
    with pytest.raises(ZoovetError, match=f"^{message}$"):
        read_module(FileContent(tensors=tensors), None, "f")
    read = read_module(FileContent(tensors=tensors), "torchvision:wide", "f", image=(3, 4, 4))
    assert read.title == "torchvision:wide"


@pytest.mark.usefixtures("library")
def test_other_shapes_are_of_no_network_of_it() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in _network("wide", 7).state_dict().items()}
    assert installed.installed_matches({**shapes, "2.bias": (8,)}) == []
    assert installed.installed_matches({**shapes, "0.bias": (9,)}) == []
    assert installed.installed_matches({**shapes, "more": (8,)}) == []


def test_without_the_library_none_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    monkeypatch.setattr(installed, "_torchvision", installed._torchvision.__wrapped__)
    assert installed.installed_matches({"2.bias": (8,)}) == []
