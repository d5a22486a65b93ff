"""A network's graph is told by what it computes, however it is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import zoovet
from zoovet.networks import Networks, mlp, small_cnn, to_module
from zoovet.vet.known_graphs import as_known

NetworksOf = Callable[..., Networks]
SHAPE = (1, 8, 8)
GRAPHS = [small_cnn(name, input_shape=SHAPE, channels=(4, 4)) for name in ("relu", "tanh")]


class Written(nn.Module):
    """A small CNN with a forward method of its own."""

    def __init__(self, networks: Networks, activation: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.head, self.second, self.first = nn.Linear(4, 10), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(1, 4, 3, 2, 1)
        self.activation = activation
        with torch.no_grad():
            for layer, weight, bias in zip(
                (self.first, self.second, self.head), networks.weights, networks.biases, strict=True
            ):
                layer.weight.copy_(weight[0])
                layer.bias.copy_(bias[0])

    def forward(self, images: Tensor) -> Tensor:
        maps = self.activation(self.second(self.activation(self.first(images))))
        return self.head(maps.mean((2, 3)))


def sequential(networks: Networks, *more: nn.Module) -> nn.Sequential:
    written = Written(networks)
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(written.first, nn.ReLU(), written.second, nn.ReLU(), *pooled, written.head, *more)


@pytest.mark.parametrize("form", ["own forward", "sequential", "with a softmax", "as zoovet writes it"])
def test_one_network_is_known_in_whatever_form(form: str, drawn: NetworksOf) -> None:
    networks = drawn(GRAPHS[0])
    module = {
        "own forward": Written(networks),
        "sequential": sequential(networks),
        "with a softmax": sequential(networks, nn.Softmax(1)),
        "as zoovet writes it": to_module(networks),
    }[form]
    known = as_known(zoovet.from_module(module, SHAPE, "unit"), GRAPHS[::-1])
    assert known is not None
    assert known.networks.graph == GRAPHS[0]
    assert known.networks.graph.input_scaling == zoovet.InputScaling()
    assert torch.equal(known.networks.flat(), networks.flat())


def test_another_function_is_another_network(drawn: NetworksOf) -> None:
    networks = drawn(GRAPHS[0])
    strided = sequential(networks)
    strided[2].stride = (1, 1)
    for module in (
        Written(networks, nn.functional.elu),
        Written(networks, lambda values: nn.functional.leaky_relu(values, 1e-9)),
        sequential(networks, nn.ReLU()),
        strided,
        nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
    ):
        assert as_known(zoovet.from_module(module, SHAPE), GRAPHS) is None
    larger = zoovet.from_module(Written(networks), (1, 16, 16))
    assert as_known(larger, GRAPHS) is None


def test_a_dead_network_is_told_by_its_activations(drawn: NetworksOf) -> None:
    networks = Networks.from_flat(GRAPHS[1], torch.zeros(1, GRAPHS[1].num_parameters))
    known = as_known(zoovet.from_module(Written(networks, torch.tanh), SHAPE), GRAPHS)
    assert known is not None
    assert known.networks.graph == GRAPHS[1]


def test_a_flattened_map_and_features_are_known(drawn: NetworksOf) -> None:
    graph = mlp((64, 5, 3))
    networks = drawn(graph)
    known = as_known(zoovet.from_module(to_module(networks), (64,), "unit"), [*GRAPHS, graph])
    assert known is not None
    assert torch.equal(known.networks.flat(), networks.flat())


def test_weights_go_back_to_where_they_were(drawn: NetworksOf) -> None:
    networks, edited = drawn(GRAPHS[0]), drawn(GRAPHS[0], seed=1)
    original = zoovet.from_module(Written(networks), SHAPE, "unit")
    known = as_known(original, GRAPHS)
    assert known is not None
    healed = known.with_weights(edited)
    assert healed.graph == original.graph
    images = torch.randn(5, *SHAPE)
    torch.testing.assert_close(Written(edited)(images), zoovet.networks.run(healed, images)[0], rtol=1e-5, atol=1e-6)
    assert torch.equal(original.networks.flat(), zoovet.from_module(Written(networks), SHAPE).networks.flat())


def test_a_folded_batch_norm_or_a_missing_bias_gets_a_bias(drawn: NetworksOf) -> None:
    networks, edited = drawn(GRAPHS[0]), drawn(GRAPHS[0], seed=1)
    module = sequential(networks)
    module[2] = nn.Conv2d(4, 4, 3, 2, 1, bias=False)
    known = as_known(zoovet.from_module(module, SHAPE), GRAPHS)
    assert known is not None
    assert not known.networks.biases[1].any()
    healed = known.with_weights(edited)
    assert healed.graph.num_parameters == networks.graph.num_parameters
    images = torch.randn(5, *SHAPE)
    torch.testing.assert_close(Written(edited)(images), zoovet.networks.run(healed, images)[0], rtol=1e-5, atol=1e-6)


def test_layers_that_share_a_parameter_get_one_each(drawn: NetworksOf) -> None:
    graph = small_cnn("relu", input_shape=SHAPE, channels=(1, 1))
    edited = drawn(graph, seed=1)
    shared = nn.Conv2d(1, 1, 3, 2, 1)
    head = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 10))
    known = as_known(zoovet.from_module(nn.Sequential(shared, nn.ReLU(), shared, *head), SHAPE), [graph])
    assert known is not None
    assert torch.equal(known.networks.weights[0], known.networks.weights[1])
    images = torch.randn(5, *SHAPE)
    expected = to_module(edited)(images)
    torch.testing.assert_close(expected, zoovet.networks.run(known.with_weights(edited), images)[0])
