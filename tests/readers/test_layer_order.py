from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, LayerSpec, mlp, small_cnn
from zoovet.readers.layer_order import LayerOrderError, weight_shapes

Fixture = Callable[..., Any]
NAMED = ("stem", "mid", "deep", "head")


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize(
    "names",
    [
        ("conv1", "conv2", "conv3", "fc"),
        ("conv1", "conv3", "conv5", "fc"),
        ("features.0", "features.2", "features.10", "classifier.1"),
        ("module.layers.8.conv", "module.layers.9.conv", "module.layers.10.conv", "module.head"),
        ("stage1.block2", "stage2.block1", "stage2.block2", "out"),
        ("first", "block.7", "block.12", "last"),
    ],
)
def test_numbers_in_names_are_an_order(
    chain: Fixture, read: Fixture, same_function: Fixture, names: Sequence[str], sort: bool
) -> None:
    module = chain(names)
    state = module.state_dict()
    if sort and names[1] == "conv3":  # without the order of registration, numbers in words must leave no gap
        with pytest.raises(LayerOrderError, match=r"in which order conv3 6×6×3×3, conv5 6×6×3×3 run is open"):
            read(state, sort=True)
    else:
        same_function(read(state, sort=sort), module)


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("order", [NAMED, NAMED[::-1], ("mid", "deep", "head", "stem")])
def test_names_without_numbers_leave_the_order_open(
    chain: Fixture, read: Fixture, same_function: Fixture, order: Sequence[str], sort: bool
) -> None:
    module = chain(NAMED, registered=order)
    message = (
        r"^a\.pt: in which order (mid|deep) 6×6×3×3, (mid|deep) 6×6×3×3 run is open, and names do not tell; say it: "
        r"--order with all 4 layers as they run \(\w+, \w+, \w+, \w+\)$"
    )
    with pytest.raises(LayerOrderError, match=message) as raised:
        read(module.state_dict(), sort=sort)
    assert len(str(raised.value)) <= 250
    same_function(read(module.state_dict(), sort=sort, order=NAMED), module)


def test_one_reading_by_shapes_is_taken_whatever_the_order_and_the_names(
    read: Fixture, same_function: Fixture, chain: Fixture
) -> None:
    module = chain(registered=("fc", "conv1", "conv2", "conv3"))
    same_function(read(module.state_dict()), module)
    graph = mlp((5, 4, 3, 2))
    layers = {"c": nn.Linear(5, 4), "a": nn.Linear(4, 3), "b": nn.Linear(3, 2)}
    for sort in (False, True):
        found = read(nn.ModuleDict(layers).state_dict(), graph=graph, sort=sort)
        assert torch.equal(found.networks.weights[1][0], layers["a"].weight)


def test_registration_that_contradicts_the_numbers_leaves_the_order_open(chain: Fixture, read: Fixture) -> None:
    state = chain(registered=("conv1", "conv3", "conv2", "fc")).state_dict()
    with pytest.raises(LayerOrderError, match=r"in which order conv2 6×6×3×3, conv3 6×6×3×3 run is open"):
        read(state)


def test_a_dictionary_in_the_order_of_the_alphabet_says_nothing_of_registration(
    chain: Fixture, read: Fixture, same_function: Fixture
) -> None:
    module = chain(("net.8", "net.9", "net.10", "zoo"))
    same_function(read(OrderedDict(sorted(module.state_dict().items()))), module)


@pytest.mark.parametrize(
    "names",
    [
        ("down1", "mid2", "down3", "fc"),  # two forms
        ("b64", "b32", "b16", "fc"),  # sizes, which fall
        ("up3", "up2", "up1", "fc"),  # counted down: the first is told by its shape
        ("conv1", "conv2", "conv02", "fc"),  # one number twice
        ("conv", "conv_1", "conv_2", "fc"),
    ],
)
def test_other_names_are_no_order_in_a_sorted_file(chain: Fixture, read: Fixture, names: Sequence[str]) -> None:
    if names[0] == "conv":
        names = ("conv_1", "conv", "conv_2", "fc")
    with pytest.raises(LayerOrderError):
        read(chain(names).state_dict(), sort=True)


def test_many_equal_layers_are_read_and_named_shortly(read: Fixture) -> None:
    graph, layers = mlp((4,) * 41), {f"layers.{index}": nn.Linear(4, 4) for index in range(40)}
    state = {f"{name}.{key}": value for name, layer in layers.items() for key, value in layer.state_dict().items()}
    found = read(state, graph=graph, sort=True)
    assert all(torch.equal(found.networks.weights[k][0], layers[f"layers.{k}"].weight) for k in range(40))
    renamed = {name.translate(str.maketrans("0123456789", "abcdefghij")): value for name, value in state.items()}
    with pytest.raises(
        LayerOrderError, match=r"layers\.\w+ 4×4 and 36 more run is open.*all 40 layers.*, …\)$"
    ) as raised:
        read(renamed, graph=graph)
    assert len(str(raised.value)) <= 250


def test_layers_that_change_places_with_others_of_another_form_of_shape(read: Fixture) -> None:
    """A 1×1 convolution and a linear layer have the same numbers; which is which, shapes do not tell."""
    graph = Graph.of_layers(
        input_shape=(4, 5, 5),
        layers=(
            LayerSpec(kind="conv", in_channels=4, out_channels=4, kernel=(1, 1), activation="relu"),
            LayerSpec(kind="linear", in_channels=4, out_channels=4, kernel=(5, 5)),
            LayerSpec(kind="linear", in_channels=4, out_channels=4),
        ),
    )
    state = nn.ModuleDict({"a": nn.Conv2d(4, 4, 1), "b": nn.Linear(100, 4), "c": nn.Linear(4, 4)}).state_dict()
    with pytest.raises(LayerOrderError, match=r"in which order a 4×4×1×1, c 4×4 run is open"):
        read(state, graph=graph)


def test_shapes_in_which_a_weight_may_come() -> None:
    flat = LayerSpec(kind="linear", in_channels=3, out_channels=2, kernel=(4, 4))
    assert weight_shapes(flat) == {(2, 3, 4, 4), (2, 48)}
    assert weight_shapes(LayerSpec(kind="linear", in_channels=3, out_channels=2)) == {(2, 3), (2, 3, 1, 1)}
    assert weight_shapes(LayerSpec(kind="conv", in_channels=3, out_channels=2, kernel=(1, 1))) == {(2, 3), (2, 3, 1, 1)}
    assert weight_shapes(LayerSpec(kind="conv", in_channels=3, out_channels=2, kernel=(3, 3))) == {(2, 3, 3, 3)}


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["stem", "mid", "deap", "head"], r"--order: a\.pt has no layer 'deap'; did you mean 'deep'"),
        (["stem", "mid", "mid", "head"], r"--order names 'mid' twice"),
        (["stem", "mid", "head"], r"--order must name all 4 layers of a\.pt; missing are deep"),
        (["head", "mid", "deep", "stem"], r"does not fit the graph: layer 0 \(conv\) must have a weight of 6×1×3×3"),
        ([], r"must name all 4 layers of a\.pt; missing are stem, mid, deep, head"),
    ],
)
def test_an_order_that_does_not_fit_is_refused(chain: Fixture, read: Fixture, order: list[str], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        read(chain(NAMED).state_dict(), order=order)


def test_an_order_is_given_with_or_without_what_all_names_begin_with(
    chain: Fixture, read: Fixture, same_function: Fixture
) -> None:
    names = tuple(f"module.net.{name}" for name in NAMED)
    module = chain(names)
    for order in (NAMED, names, (names[0], *NAMED[1:])):
        same_function(read(module.state_dict(), order=order), module)


def test_the_shipped_spec_is_of_the_kind_that_leaves_an_order_open() -> None:
    shapes = small_cnn("relu").chain.weight_shapes
    assert shapes[1] == shapes[2]
