from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, InputScaling, Networks, mlp, small_cnn

MakeNetworks = Callable[..., Networks]
DrawNetworks = Callable[..., Networks]


@pytest.mark.parametrize("seed", range(10))
def test_flat_both_ways(seed: int, spec_of_seed: Callable[[int], Graph], networks_of: MakeNetworks) -> None:
    networks = networks_of(spec_of_seed(seed), 4, seed=seed)
    flat = networks.flat()
    assert flat.shape == (4, networks.graph.num_parameters)
    again = Networks.from_flat(networks.graph, flat)
    for ours, theirs in zip((*again.weights, *again.biases), (*networks.weights, *networks.biases), strict=True):
        assert torch.equal(ours, theirs)


def test_the_order_of_the_flat_vector() -> None:
    networks = Networks.from_flat(mlp((2, 3, 1)), torch.arange(13.0)[None])
    assert networks.weights[0].tolist() == [[[0, 1], [2, 3], [4, 5]]]
    assert networks.biases[0].tolist() == [[6, 7, 8]]
    assert networks.weights[1].tolist() == [[[9, 10, 11]]]
    assert networks.biases[1].tolist() == [[12]]


def test_from_flat_gives_views_with_gradients() -> None:
    flat = torch.ones(2, 13, requires_grad=True)
    networks = Networks.from_flat(mlp((2, 3, 1)), flat)
    (2 * networks.weights[0].sum() + networks.biases[1].sum()).backward()
    assert flat.grad is not None
    assert flat.grad.tolist() == [[2.0] * 6 + [0.0] * 6 + [1.0]] * 2
    detached = flat.detach()
    Networks.from_flat(mlp((2, 3, 1)), detached).weights[0].zero_()
    assert detached[:, :6].abs().sum() == 0


@pytest.mark.parametrize("shape", [(13,), (2, 12), (1, 2, 13)])
def test_flat_vectors_of_another_length_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ZoovetError, match=r"flat weights must have the shape \[networks, 13\], got \["):
        Networks.from_flat(mlp((2, 3, 1)), torch.zeros(shape))


def test_indexing_always_gives_a_batch(networks_of: MakeNetworks) -> None:
    networks = networks_of(small_cnn(), 5)
    flat = networks.flat()
    assert len(networks) == 5
    assert torch.equal(networks[3].flat(), flat[3:4])
    assert torch.equal(networks[-1].flat(), flat[4:])
    assert torch.equal(networks[1:4:2].flat(), flat[1:4:2])
    assert torch.equal(networks[[4, 0]].flat(), flat[[4, 0]])
    mask = torch.tensor([True, False, True, False, False])
    assert torch.equal(networks[mask].flat(), flat[mask])
    assert torch.equal(torch.cat([one.flat() for one in networks]), flat)
    assert len(networks[5:]) == 0
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"network {index} of 5"):
            networks[index]


def test_concatenate(networks_of: MakeNetworks) -> None:
    networks = networks_of(small_cnn(), 5)
    assert torch.equal(Networks.concatenate([networks[:2], networks[2:]]).flat(), networks.flat())
    with pytest.raises(ZoovetError, match="only networks of one graph can be concatenated"):
        Networks.concatenate([networks, networks_of(mlp((2, 1)), 1)])
    with pytest.raises(ZoovetError, match="only networks of one input scaling can be concatenated"):
        Networks.concatenate([networks, networks.with_scaling(InputScaling())])
    with pytest.raises(ZoovetError, match="nothing to concatenate"):
        Networks.concatenate([])


def test_a_change_is_added(networks_of: MakeNetworks) -> None:
    networks, change = networks_of(small_cnn(), 2), networks_of(small_cnn(), 2, seed=1)
    assert torch.equal((networks + change).flat(), networks.flat() + change.flat())
    with pytest.raises(ZoovetError, match=r"a change must fit the networks it is added to: 2 of 1×28×28 .*, got 1 of"):
        _ = networks + change[0]
    with pytest.raises(ZoovetError, match="got 2 of 2 → linear 1"):
        _ = networks + networks_of(mlp((2, 1)), 2)
    with pytest.raises(TypeError):
        _ = networks + 1


def test_dtype_and_device(networks_of: MakeNetworks) -> None:
    networks = networks_of(small_cnn(), 2)
    assert networks.dtype == torch.float64
    single = networks.to(dtype=torch.float32)
    assert {tensor.dtype for tensor in (*single.weights, *single.biases)} == {torch.float32}
    assert networks.to("meta").device.type == "meta"


def test_detach() -> None:
    flat = torch.ones(2, 13, requires_grad=True)
    assert not Networks.from_flat(mlp((2, 3, 1)), flat).detach().flat().requires_grad


def test_tensors_that_do_not_fit_the_spec_are_refused(networks_of: MakeNetworks) -> None:
    networks = networks_of(mlp((2, 3, 1)), 4)
    weights, biases = networks.weights, networks.biases
    with pytest.raises(ZoovetError, match="the network has 2 layers, got 1 weights and 2 biases"):
        Networks.from_layers(networks.graph, weights[:1], biases)
    with pytest.raises(ZoovetError, match=r"weights\[1\] must have the shape \(4, 1, 3\) .*, got \(4, 3, 1\)"):
        Networks.from_layers(networks.graph, (weights[0], weights[1].mT), biases)
    with pytest.raises(ZoovetError, match=r"biases\[0\] must have the shape \(4, 3\) .*, got \(3, 3\)"):
        Networks.from_layers(networks.graph, weights, (biases[0][:3], biases[1]))


def test_tensors_of_two_precisions_are_refused(networks_of: MakeNetworks) -> None:
    networks = networks_of(mlp((2, 3, 1)), 4)
    biases = (networks.biases[0].float(), networks.biases[1])
    message = (
        r"all tensors must have one dtype and device: 'layers\.0\.weight' is torch\.float64 on cpu, 'layers\.0\.bias' "
        r"torch\.float32"
    )
    with pytest.raises(ZoovetError, match=message):
        Networks.from_layers(networks.graph, networks.weights, biases)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused(value: float, networks_of: MakeNetworks) -> None:
    networks = networks_of(mlp((2, 3, 1)), 4)
    assert networks.require_finite() is networks
    networks.biases[1][2, 0] = value
    with pytest.raises(ZoovetError, match=r"suspect\.pt: network 2 has NaN or infinite biases in layer 1"):
        networks.require_finite("suspect.pt")


def test_flat_vectors_go_both_ways(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks = draw_networks(residual_graph, 3)
    flat = networks.flat()
    assert flat.shape == (3, residual_graph.num_parameters)
    again = Networks.from_flat(residual_graph, flat)
    for name, tensor in networks.parameters.items():
        assert torch.equal(again.parameters[name], tensor)
    with pytest.raises(ZoovetError, match=rf"\[networks, {residual_graph.num_parameters}\], got \[3, 5\]"):
        Networks.from_flat(residual_graph, flat[:, :5])


def test_some_are_picked_and_put_together_again(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks = draw_networks(residual_graph, 3)
    assert torch.equal(Networks.concatenate(list(networks)).flat(), networks.flat())
    assert torch.equal(networks[-1].flat(), networks.flat()[2:])
    assert torch.equal(networks[[2, 0]].flat(), networks.flat()[[2, 0]])
    with pytest.raises(IndexError, match="network 3 of 3"):
        networks[3]
    other = draw_networks(mlp((3, 2)), 1)
    with pytest.raises(ZoovetError, match="only networks of one graph can be concatenated"):
        Networks.concatenate([networks, other])
    with pytest.raises(ZoovetError, match="nothing to concatenate"):
        Networks.concatenate([])


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
    one = Networks.one(residual_graph, {name: tensor[0] for name, tensor in networks.parameters.items()})
    assert len(one) == 1
    assert torch.equal(one.flat(), networks.flat())


def test_parameters_that_do_not_fit_are_refused(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    tensors = dict(draw_networks(residual_graph, 2).parameters)
    with pytest.raises(ZoovetError, match=r"no parameter 'conv2d0.wait'; did you mean 'conv2d0.weight'"):
        Networks(residual_graph, {**tensors, "conv2d0.wait": torch.zeros(2)})
    with pytest.raises(ZoovetError, match=r"the parameter 'conv2d0.weight' \[8, 3, 3, 3\] is missing"):
        Networks(residual_graph, {name: tensors[name] for name in list(tensors)[1:]})
    with pytest.raises(ZoovetError, match=r"'conv2d3.weight' must have the shape \[2, 16, 8, 3, 3\] .* got \[1, 16"):
        Networks(residual_graph, {**tensors, "conv2d3.weight": tensors["conv2d3.weight"][:1]})
    with pytest.raises(
        ZoovetError, match=r"one dtype and device: .* torch\.float64 .* 'conv2d3.weight' torch\.float32"
    ):
        Networks(residual_graph, {**tensors, "conv2d3.weight": tensors["conv2d3.weight"].float()})


def test_numbers_that_are_none_are_found(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks = draw_networks(residual_graph, 2)
    assert networks.require_finite() is networks
    networks.parameters["conv2d3.weight"][1, 0] = torch.inf
    with pytest.raises(ZoovetError, match=r"a\.pt: network 1 has NaN or infinite numbers in 'conv2d3.weight'"):
        networks.require_finite("a.pt")
