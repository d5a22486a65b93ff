"""Architectures of the user's own in a park: from a Python file, a graph's JSON, a network's file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks, small_cnn
from zoovet.readers import save_networks
from zoovet.zoo import ParkRecipe
from zoovet.zoo.park.builder import ParkBuilder
from zoovet.zoo.park.families import GivenFamily, SqueezeFamily

NET = """
from torch import nn


def make():
    return nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))


def probabilities():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))


def few():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def fails():
    raise ValueError("no such net")
"""


def graph_of(source: Path | str, shape: tuple[int, int, int] = (1, 8, 8), num_classes: int = 10) -> Graph:
    family = GivenFamily(source=str(source))
    return family.graph(family.draw(np.random.default_rng(0)), shape, num_classes)


@pytest.fixture
def own_file(tmp_path: Path) -> str:
    (tmp_path / "my_net.py").write_text(NET)
    return str(tmp_path / "my_net.py")


def test_a_module_a_graph_and_a_networks_file_are_taken(own_file: str, tmp_path: Path) -> None:
    assert [one.op for one in graph_of(f"{own_file}:make").operations][:3] == ["conv2d", "batch_norm", "relu"]
    graph = small_cnn("tanh", input_shape=(1, 8, 8), channels=(4,), num_classes=10)
    (tmp_path / "net.json").write_text(json.dumps(graph.to_json()))
    assert graph_of(tmp_path / "net.json") == graph
    save_networks(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)), tmp_path / "net.safetensors")
    assert graph_of(tmp_path / "net.safetensors") == graph
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    torch.save(module.state_dict(), tmp_path / "mlp.pt")
    with pytest.raises(ZoovetError, match="whose activation no name or shape tells: give architecture: mlp:act"):
        graph_of(tmp_path / "mlp.pt")
    family = GivenFamily(source=str(tmp_path / "mlp.pt"), architecture="mlp:activation=tanh")
    assert [one.op for one in family.graph({}, (1, 8, 8), 10).operations] == ["flatten", "linear", "tanh", "linear"]


def test_a_recipe_says_it_as_any_family() -> None:
    recipe = read_config(
        ParkRecipe,
        {
            "images": [{"name": "digits", "images": {"source": "digits"}}],
            "architectures": [{"family": "given", "source": "my_net.py:make"}, {"family": "squeeze"}],
        },
    )
    assert recipe.architectures == (GivenFamily(source="my_net.py:make"), SqueezeFamily())


def test_a_park_of_an_own_architecture(own_file: str, park_recipe: ParkRecipe) -> None:
    recipe = replace(
        park_recipe,
        architectures=(GivenFamily(source=f"{own_file}:make"),),
        images=park_recipe.images[:1],
        num_bases=1,
        min_asr=0.0,
    )
    builder = ParkBuilder(recipe, None)
    rows = builder.build_base(0)
    assert [(row["family"], row["activation"]) for row in rows] == [("given", None)] * 2
    assert builder.graphs[rows[0]["spec_id"]].architecture == graph_of(f"{own_file}:make").architecture


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("my_net.py:fails", {}, r"my_net.py:fails failed, ValueError: no such net"),
        ("my_net.py:maek", {}, r"my_net.py has no 'maek' to call; did you mean 'make'"),
        (
            "my_net.py:probabilities",
            {},
            r"answers probabilities \[10\]; training needs logits, one a class",
        ),
        ("my_net.py:few", {}, r"my_net.py:few tells 3 classes apart, the images have 10"),
        ("my_net.py:make", {"shape": (3, 8, 8)}, r"\[3, 8, 8\]|3 channels"),
        ("nothing.json", {}, "there is no file .*nothing.json"),
        ("net.json", {"shape": (3, 8, 8)}, r"reads \[1, 8, 8\] .* the images are \[3, 8, 8\]; say size and color"),
    ],
)
def test_what_does_not_fit_is_said(
    own_file: str, tmp_path: Path, name: str, arguments: dict[str, tuple[int, int, int]], message: str
) -> None:
    graph = small_cnn("tanh", input_shape=(1, 8, 8), channels=(4,), num_classes=10)
    (tmp_path / "net.json").write_text(json.dumps(graph.to_json()))
    with pytest.raises(ZoovetError, match=message):
        graph_of(tmp_path / name, **arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GivenFamily(source=""), "source of an architecture must name a file"),
        (lambda: GivenFamily(source="a.json", variants=2), "variants of a given architecture must be 1, got 2"),
    ],
)
def test_blocks_that_make_no_sense(make: Callable[[], GivenFamily], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        make()


def test_what_cannot_be_started_or_compiled_is_said(park_recipe: ParkRecipe, tmp_path: Path) -> None:
    def prepared(lines: str) -> None:
        (tmp_path / "net.py").write_text(f"import torch\nfrom torch import nn\n{lines}")
        architectures = (GivenFamily(source=f"{tmp_path / 'net.py'}:make"),)
        ParkBuilder(replace(park_recipe, architectures=architectures, images=park_recipe.images[:1]), None).prepare()

    with pytest.warns(UserWarning, match="the family given trains through torch, several times slower: .*softplus"):
        prepared(
            "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Softplus(), nn.Linear(8, 10))"
        )
    with pytest.raises(ZoovetError, match=r"architectures\[0\] \(given\): no training from nothing is known for the"):
        prepared(
            "class Own(nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.gain, self.last = nn.Parameter(torch.ones(64)), nn.Linear(64, 10)\n\n"
            "    def forward(self, x):\n"
            "        return self.last(x.flatten(1) * self.gain)\n\n\n"
            "make = Own"
        )
