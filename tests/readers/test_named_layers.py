from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.readers.named_layers import contents_in_words, name_layers

LAYERS = nn.ModuleDict(
    {
        "stem": nn.Conv2d(3, 8, 3, bias=False),
        "bn": nn.BatchNorm2d(8),
        "up": nn.Conv1d(8, 8, 3),
        "head": nn.Linear(8, 100_000),
        "fc": nn.Linear(2, 2),
    }
)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (LAYERS.state_dict(), "1 convolution, 2 linear layers, 1 1-d convolution, 1 batch norm, 900.5 k numbers"),
        ({"a.weight": torch.empty(1200, 1000)}, "1 linear layer, 1.2 M numbers"),
        ({"a.weight_orig": torch.ones(2, 2), "a.weight_mask": torch.ones(2, 2)}, "1 linear layer, 8 numbers"),
        ({"x": torch.ones(3), "y": torch.ones(2)}, "2 tensors without weights of layers, 5 numbers"),
        ({"x": torch.ones(3)}, "1 tensor without weights of layers, 3 numbers"),
        ({"dense.kernel": torch.ones(2, 2), "d2.kernel": torch.ones(2, 2)}, "2 Keras kernels, 8 numbers"),
        ({"a.weight": torch.ones(2, 2, 2, 2, 2, 2)}, "1 other layer, 64 numbers"),
    ],
)
def test_what_a_file_holds_in_a_few_words(tensors: dict[str, Tensor], words: str) -> None:
    assert contents_in_words(tensors) == words


def test_tensors_are_sorted_into_layers_and_norms() -> None:
    named = name_layers(LAYERS.state_dict(), "a.pt")
    assert [layer.name for layer in named.layers] == ["stem", "up", "head", "fc"]
    assert [layer.bias is None for layer in named.layers] == [True, False, False, False]
    assert [norm.name for norm in named.norms] == ["bn"]
    assert named.ordered
    assert (named.notes, named.obstacles, named.scaling) == ((), (), None)
    assert not name_layers(dict(sorted(LAYERS.state_dict().items())), "a.pt").ordered
    assert not name_layers(LAYERS.state_dict(), "a.pt", ordered=False).ordered


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("weight", "weight"),
        ("fc1_weight", "fc1"),
        ("weight_3", "3"),
        ("module.net.0.linear.weight", "module.net.0.linear"),
        ("weight_net.fc.weight", "weight_net.fc"),
    ],
)
def test_a_layer_is_called_as_its_weight_is_without_that_word(name: str, layer: str) -> None:
    bias = torch.ones(2)
    before, _, after = name.rpartition("weight")
    named = name_layers({name: torch.ones(2, 2), f"{before}bias{after}": bias}, "a.pt")
    (own,) = named.layers
    assert own.name == layer
    assert own.bias is bias


def test_packed_weights_of_a_quantized_layer_are_called_so() -> None:
    packed = {"fc.scale": torch.tensor(0.1), "fc.zero_point": torch.tensor(3), "head.weight": torch.ones(2, 3)}
    with pytest.raises(ZoovetError, match=r"^f: the layer 'fc' is quantized .*; give the network as it was before"):
        name_layers(packed, "f")
    trained = {"fc.weight": torch.ones(4, 3)} | {
        f"fc.{part}.{name}": torch.tensor(1.0)
        for part in ("weight_fake_quant", "activation_post_process")
        for name in ("scale", "zero_point")
    }
    assert [layer.name for layer in name_layers(trained, "f").layers] == ["fc"]
