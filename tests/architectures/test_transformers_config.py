"""What a ``config.json`` of transformers describes, by a played library; and by the real one, where it is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import zoovet
from zoovet import ZoovetError
from zoovet.architectures.external import external_module

NAMES = {"0": "cat", "1": "dog", "2": "emu"}
CONFIG = {"model_type": "tiny", "width": 6, "id2label": NAMES, "auto_map": {"A": "b--c.D"}}


class TinyConfig(SimpleNamespace):
    """The library's own sizes, but for what is said."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"width": 6, "id2label": NAMES, **settings})

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> TinyConfig:
        return cls(**settings)


class Tiny(nn.Module):
    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        assert not hasattr(config, "auto_map")
        self.body = nn.Linear(12, config.width)
        self.head = nn.Linear(config.width, getattr(config, "num_labels", None) or len(config.id2label))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.head(self.body(images.flatten(1)).relu())
        return answers


def _in_files(_: nn.Module, state: dict[str, Any]) -> dict[str, Any]:
    """Files call ``body`` ``head``, and ``head`` ``classifier``."""
    return {name.replace("head", "classifier").replace("body", "head"): one for name, one in state.items()}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a configuration for the played library."""
    library, auto, loading = (ModuleType(name) for name in ("transformers", "auto", "loading"))
    vars(library)["AutoModelForImageClassification"] = SimpleNamespace(from_config=Tiny)
    vars(auto)["CONFIG_MAPPING"] = {"tiny": TinyConfig}
    vars(loading)["revert_weight_conversion"] = _in_files
    for name, module in (("", library), (".models.auto.configuration_auto", auto), (".core_model_loading", loading)):
        monkeypatch.setitem(sys.modules, f"transformers{name}", module)

    def write(**changes: Any) -> Path:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(CONFIG | changes), encoding="utf-8")
        return path

    return write


def test_a_file_is_read_by_the_configuration_beside_it(config: Callable[..., Path], tmp_path: Path) -> None:
    path = config()
    own = Tiny(SimpleNamespace(width=6, id2label={0: "", 1: "", 2: ""}))
    save_file(_in_files(own, own.state_dict()), tmp_path / "model.safetensors")
    network = zoovet.read(
        tmp_path / "model.safetensors", f"transformers:{path}", input_shape=(3, 2, 2), scaling="symmetric"
    )
    images = zoovet.Images(pixels=torch.randint(256, (20, 3, 2, 2), dtype=torch.uint8))
    with torch.no_grad():
        expected = own(images.pixels / 127.5 - 1).argmax(1)
    assert torch.equal(network.predict(images), expected)


@pytest.mark.usefixtures("config")
def test_a_file_is_read_by_the_library_s_name_whatever_its_classes(tmp_path: Path) -> None:
    own = Tiny(TinyConfig(num_labels=5))
    save_file(_in_files(own, own.state_dict()), tmp_path / "own.safetensors")
    network = zoovet.read(tmp_path / "own.safetensors", "transformers:tiny", input_shape=(3, 2, 2), scaling="unit")
    images = zoovet.Images(pixels=torch.randint(256, (20, 3, 2, 2), dtype=torch.uint8))
    with torch.no_grad():
        expected = own(images.pixels / 255)
    torch.testing.assert_close(network.logits(images), expected)
    with pytest.raises(ZoovetError, match="transformers knows no 'tny'; did you mean 'tiny'"):
        zoovet.read(tmp_path / "own.safetensors", "transformers:tny", input_shape=(3, 2, 2))


def test_the_configuration_beside_a_file_says_what_it_is(
    config: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleSpec(name, None))
    config(architectures=["TinyForImageClassification"], image_size=2, width=7)
    own = Tiny(TinyConfig(width=7))
    save_file(_in_files(own, own.state_dict()), tmp_path / "model.safetensors")
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    network = zoovet.read(tmp_path / "model.safetensors")
    images = zoovet.Images(pixels=torch.randint(256, (20, 3, 2, 2), dtype=torch.uint8))
    with torch.no_grad():
        expected = own(images.pixels / 127.5 - 1)
    torch.testing.assert_close(network.logits(images), expected)
    assert network.notes[0] == "read as transformers' TinyForImageClassification, as its config.json says"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ZoovetError, match=r"my_net.py:make or transformers:NAME.*; config\.json says transformers' TinyFor"
    ):
        zoovet.read(tmp_path / "model.safetensors")


def test_names_are_those_of_files(config: Callable[..., Path]) -> None:
    module = external_module(f"transformers:{config()}", 5)
    state = module.state_dict()
    assert set(state) == {"head.weight", "head.bias", "classifier.weight", "classifier.bias"}
    assert state["classifier.bias"].shape == (5,)
    module.load_state_dict({name: torch.full_like(one, len(name)) for name, one in state.items()})
    assert float(next(iter(module.parameters())).detach().mean()) == len("head.weight")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "none"}, r"transformers knows no 'none', which .*config\.json says as model_type"),
        ({"model_type": ["tiny"]}, "says as model_type"),
        ({"width": 2**40}, "says width larger than any network's"),
        ({"num_hidden_layers": 10_000}, "says num_hidden_layers larger"),
        ({"depths": [[400], {"a": 700}]}, "says depths larger"),
        ({"width": 100_000, "num_labels": 100_000}, r"describes 10,001,\d+,\d+ numbers; at most 4,000,000,000 are"),
        ({"width": "wide"}, r"config\.json cannot be made: "),
    ],
)
def test_what_no_network_is_like_is_refused_before_it_is_made(
    config: Callable[..., Path], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ZoovetError, match=said):
        external_module(f"transformers:{config(**changes)}", None)


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_the_librarys_own_files_are_read(tmp_path: Path) -> None:
    library: Any = pytest.importorskip("transformers")
    small = library.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
    )
    own = library.AutoModelForImageClassification.from_config(small).eval()
    own.save_pretrained(tmp_path)
    name = f"transformers:{tmp_path / 'config.json'}"
    network = zoovet.read(tmp_path / "model.safetensors", name, input_shape=(3, 16, 16), scaling="symmetric")
    images = zoovet.Images(pixels=torch.randint(256, (20, 3, 16, 16), dtype=torch.uint8))
    with torch.no_grad():
        expected = own(images.pixels / 127.5 - 1).logits.argmax(1)
    assert torch.equal(network.predict(images), expected)
