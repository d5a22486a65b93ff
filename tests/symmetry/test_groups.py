"""Which symmetry follows from activation and pooling."""

from __future__ import annotations

import pytest

from zoovet.networks.chain import Group
from zoovet.networks.chains import mlp, siren, small_cnn
from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import ACTIVATIONS, LayerSpec, PoolSpec
from zoovet.symmetry import groups
from zoovet.symmetry.groups import common_symmetry, group_symmetries, spec_symmetry

POOLINGS = {
    None: None,
    "average": PoolSpec(kind="average", kernel=(2, 2), stride=(2, 2)),
    "max": PoolSpec(kind="max", kernel=(2, 2), stride=(2, 2)),
    "global": PoolSpec(kind="global"),
}


def cnn(activation: str, pooling: str | None) -> Graph:
    conv = LayerSpec(
        kind="conv", in_channels=1, out_channels=3, kernel=(3, 3), activation=activation, pool=POOLINGS[pooling]
    )
    size = Graph.of_layers(input_shape=(1, 8, 8), layers=(conv,)).chain.map_sizes[-1] or ()
    linear = LayerSpec(kind="linear", in_channels=3, out_channels=2, kernel=size)
    return Graph.of_layers(input_shape=(1, 8, 8), layers=(conv, linear))


@pytest.mark.parametrize(
    ("activation", "without_max", "with_max"),
    [
        ("identity", "nonzero", "scale"),
        ("relu", "scale", "scale"),
        ("leaky_relu", "scale", "scale"),
        ("tanh", "sign", "permutation"),
        ("sine", "sign", "permutation"),
        ("sigmoid", "permutation", "permutation"),
        ("gelu", "permutation", "permutation"),
        ("silu", "permutation", "permutation"),
    ],
)
def test_symmetry_follows_from_activation_and_pooling(activation: str, without_max: str, with_max: str) -> None:
    for pooling in (None, "average", "global"):
        assert group_symmetries(cnn(activation, pooling)) == ("fixed", without_max, "fixed")
    assert group_symmetries(cnn(activation, "max")) == ("fixed", with_max, "fixed")


def test_every_activation_and_pooling_is_known() -> None:
    for activation in ACTIVATIONS:
        for pooling in POOLINGS:
            assert group_symmetries(cnn(activation, pooling))[1] != "fixed"


def test_activation_and_pooling_after_the_last_layer_leave_the_output_fixed() -> None:
    layer = LayerSpec(kind="linear", in_channels=2, out_channels=3, activation="relu")
    assert group_symmetries(Graph.of_layers(input_shape=(2,), layers=(layer,))) == ("fixed", "fixed")


def test_common_symmetry_is_commutative_and_never_larger_than_either() -> None:
    strength = {"fixed": 0, "permutation": 1, "sign": 2, "scale": 2, "nonzero": 3}
    for first in strength:
        for second in strength:
            common = common_symmetry(first, second)
            assert common == common_symmetry(second, first)
            assert strength[common] <= min(strength[first], strength[second])
    assert common_symmetry("scale", "sign") == "permutation"


@pytest.mark.parametrize(
    ("activations", "expected"),
    [
        ((("relu", None), ("leaky_relu", "max")), "scale"),
        ((("identity", None), ("relu", None)), "scale"),
        ((("identity", None), ("tanh", "average")), "sign"),
        ((("relu", None), ("tanh", None)), "permutation"),
        ((("tanh", None), ("tanh", "max")), "permutation"),
    ],
)
def test_several_layers_into_one_group_leave_it_what_they_share(
    activations: tuple[tuple[str, str | None], ...], expected: str
) -> None:
    assert groups._group_symmetry(Group(4, "hidden", 1, activations)) == expected


def test_spec_symmetry_is_what_all_hidden_groups_share() -> None:
    assert spec_symmetry(small_cnn("relu")) == "scale"
    assert spec_symmetry(small_cnn("tanh")) == "sign"
    assert spec_symmetry(siren()) == "sign"
    assert spec_symmetry(mlp((2, 5, 1), "gelu")) == "permutation"
    first, second, last = mlp((2, 5, 5, 1), "relu").chain.layers
    tanh = mlp((2, 5, 5, 1), "tanh").chain.layers[1]
    assert spec_symmetry(Graph.of_layers(input_shape=(2,), layers=(first, tanh, last))) == "permutation"
    assert spec_symmetry(Graph.of_layers(input_shape=(2,), layers=(first, second, last))) == "scale"


def test_nothing_acts_on_a_network_without_hidden_groups() -> None:
    assert spec_symmetry(mlp((3, 2))) == "fixed"
