from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, GraphNetworks, graph_from_spec, mlp

DrawNetworks = Callable[..., GraphNetworks]


def test_flat_vectors_go_both_ways(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks = draw_networks(residual_graph, 3)
    flat = networks.flat()
    assert flat.shape == (3, residual_graph.num_parameters)
    again = GraphNetworks.from_flat(residual_graph, flat)
    for name, tensor in networks.parameters.items():
        assert torch.equal(again.parameters[name], tensor)
    with pytest.raises(ZoovetError, match=rf"\[networks, {residual_graph.num_parameters}\], got \[3, 5\]"):
        GraphNetworks.from_flat(residual_graph, flat[:, :5])


def test_some_are_picked_and_put_together_again(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks = draw_networks(residual_graph, 3)
    assert torch.equal(GraphNetworks.concatenate(list(networks)).flat(), networks.flat())
    assert torch.equal(networks[-1].flat(), networks.flat()[2:])
    assert torch.equal(networks[[2, 0]].flat(), networks.flat()[[2, 0]])
    with pytest.raises(IndexError, match="network 3 of 3"):
        networks[3]
    other = draw_networks(graph_from_spec(mlp((3, 2))), 1)
    with pytest.raises(ZoovetError, match="only networks of one graph can be concatenated"):
        GraphNetworks.concatenate([networks, other])
    with pytest.raises(ZoovetError, match="nothing to concatenate"):
        GraphNetworks.concatenate([])


def test_changes_are_added_and_precision_is_changed(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks, change = draw_networks(residual_graph, 2), draw_networks(residual_graph, 2, seed=1)
    assert torch.equal((networks + change).flat(), networks.flat() + change.flat())
    assert networks.to(dtype=torch.float32).dtype == torch.float32
    assert not networks.map(lambda tensor: tensor.requires_grad_()).detach().flat().requires_grad
    with pytest.raises(ZoovetError, match="a change must fit the networks"):
        networks + change[0]


def test_one_network_comes_from_tensors_without_a_batch_axis(
    residual_graph: Graph, draw_networks: DrawNetworks
) -> None:
    networks = draw_networks(residual_graph, 1)
    assert torch.equal(pickle.loads(pickle.dumps(networks)).flat(), networks.flat())
    one = GraphNetworks.one(residual_graph, {name: tensor[0] for name, tensor in networks.parameters.items()})
    assert len(one) == 1
    assert torch.equal(one.flat(), networks.flat())


def test_tensors_that_do_not_fit_are_refused(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    tensors = dict(draw_networks(residual_graph, 2).parameters)
    with pytest.raises(ZoovetError, match=r"no parameter 'conv2d0.wait'; did you mean 'conv2d0.weight'"):
        GraphNetworks(residual_graph, {**tensors, "conv2d0.wait": torch.zeros(2)})
    with pytest.raises(ZoovetError, match=r"the parameter 'conv2d0.weight' \[8, 3, 3, 3\] is missing"):
        GraphNetworks(residual_graph, {name: tensors[name] for name in list(tensors)[1:]})
    with pytest.raises(ZoovetError, match=r"'conv2d3.weight' must have the shape \[2, 16, 8, 3, 3\] .* got \[1, 16"):
        GraphNetworks(residual_graph, {**tensors, "conv2d3.weight": tensors["conv2d3.weight"][:1]})
    with pytest.raises(
        ZoovetError, match=r"one dtype and device: .* torch\.float64 .* 'conv2d3.weight' torch\.float32"
    ):
        GraphNetworks(residual_graph, {**tensors, "conv2d3.weight": tensors["conv2d3.weight"].float()})


def test_numbers_that_are_none_are_found(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks = draw_networks(residual_graph, 2)
    assert networks.require_finite() is networks
    networks.parameters["conv2d3.weight"][1, 0] = torch.inf
    with pytest.raises(ZoovetError, match=r"a\.pt: network 1 has NaN or infinite numbers in 'conv2d3.weight'"):
        networks.require_finite("a.pt")
