from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks, Sine, mlp, run, small_cnn, to_module
from zoovet.readers.exported import graph_from_module


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def numbers(tensor: Tensor) -> list[float]:
    return tensor.flatten().tolist()


@pytest.mark.parametrize("seed", range(30))
def test_to_module_computes_the_same_and_is_read_back(
    seed: int,
    spec_of_seed: Callable[[int], Graph],
    networks_of: Callable[..., Networks],
    slow: Callable[[Networks, Tensor], list[Tensor]],
) -> None:
    graph = spec_of_seed(seed)
    networks = networks_of(graph, 1, seed=seed)
    module = to_module(networks)
    images = draw(3, *graph.input_shape)
    torch.testing.assert_close(module(images), slow(networks, images)[-1][0], rtol=1e-12, atol=1e-12)
    again = graph_from_module(module, graph.input_shape)
    assert torch.equal(run(again, images), run(networks, images))
    theirs = [again.parameters[name] for name in again.graph.shapes]
    assert sorted(map(numbers, theirs)) == sorted(map(numbers, networks.parameters.values()))


def test_weights_are_copies(networks_of: Callable[..., Networks]) -> None:
    networks = networks_of(mlp((2, 2)), 1)
    back = to_module(networks)
    nn.init.zeros_(back[0].weight)
    assert networks.weights[0].abs().min() > 0


def test_dtype_is_kept_and_no_random_number_drawn(networks_of: Callable[..., Networks]) -> None:
    state = torch.get_rng_state()
    module = to_module(networks_of(small_cnn(), 1, dtype=torch.float32))
    assert torch.equal(torch.get_rng_state(), state)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_to_module_takes_one_network(networks_of: Callable[..., Networks]) -> None:
    with pytest.raises(ZoovetError, match=r"one network, got 2; pick one with networks\[index\]"):
        to_module(networks_of(small_cnn(), 2))


def test_sine_shows_its_factor() -> None:
    assert repr(Sine(30.0)) == "Sine(w0=30)"
