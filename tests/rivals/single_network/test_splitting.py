"""Both parts of a network make what the whole one answers, wherever it is cut; what cannot be cut says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable, RunnableGraphs, RunnableModule
from zoovet.networks import INPUT, ZOO_SCALING, GraphBuilder, InputScaling, Networks, small_cnn
from zoovet.rivals.single_network.splitting import Part, last_weights, split_network

SHAPE = (3, 8, 8)
SCALING = InputScaling(mean=(0.5, 0.4, 0.3), deviation=(0.2, 0.3, 0.4))


def residual(with_branch: bool = False) -> RunnableGraphs:
    """conv, relu, conv + what came in, relu, conv, relu, mean, linear; or with the first map's mean beside it."""
    make = GraphBuilder(SHAPE)

    def conv(site: str, name: str, before: int) -> str:
        roles = {"weight": make.parameter(f"{name}.weight", (4, before, 3, 3))}
        return make.add("conv2d", site, parameters=roles, padding=(1, 1, 1, 1))

    first = make.add("relu", conv(INPUT, "a", 3))
    second = make.add("relu", make.add("add", conv(first, "b", 4), first))
    third = make.add("relu", conv(second, "c", 4))
    flat = make.add("mean", third, dim=(1, 2))
    if with_branch:
        flat = make.add("cat", flat, make.add("flatten", INPUT), dim=0)
    shapes = {"weight": (5, 196 if with_branch else 4), "bias": (5,)}
    roles = {role: make.parameter(f"last.{role}", shape) for role, shape in shapes.items()}
    graph = make.graph(make.add("linear", flat, parameters=roles), SCALING)
    generator = torch.Generator().manual_seed(0)
    return RunnableGraphs(
        Networks(graph, {name: torch.randn(1, *shape, generator=generator) for name, shape in graph.shapes.items()})
    )


def noise() -> Tensor:
    return 2 * torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(1)) - 1


def chains() -> RunnableGraphs:
    graph = small_cnn("relu", input_shape=SHAPE, channels=(4, 6), num_classes=5).reading(ZOO_SCALING)
    return RunnableGraphs(Networks.from_flat(graph, torch.randn(1, graph.num_parameters)).with_scaling("symmetric"))


def module() -> RunnableModule:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5), nn.Softmax(dim=1))
    return RunnableModule(layers, SHAPE, SCALING)


@pytest.mark.parametrize("make", [residual, chains, module])
@pytest.mark.parametrize("part", ["middle", "last map"])
def test_both_parts_make_the_whole(make: Callable[[], Runnable], part: Part) -> None:
    network, images = make(), noise()
    split = split_network(network, part)
    features = split.features(images)
    assert tuple(features.shape) == (6, *split.feature_shape)
    logits = network.logits(images)[0].log_softmax(1)
    torch.testing.assert_close(split.answers(features).log_softmax(1), logits, atol=1e-4, rtol=1e-4)


def test_a_residual_graph_is_cut_behind_its_sums() -> None:
    network, images = residual(), noise()
    middle, last = split_network(network, "middle"), split_network(network, "last map")
    assert middle.feature_shape == last.feature_shape == (4, 8, 8)
    assert float(middle.features(images).min()) == float(last.features(images).min()) == 0  # behind the relu
    assert not torch.equal(middle.features(images), last.features(images))
    assert torch.equal(last_weights(network), network.networks.parameters["last.weight"][0])


def test_the_last_layer_of_a_module_is_the_one_that_runs_last() -> None:
    network = module()
    assert isinstance(network.module, nn.Sequential)
    layer = network.module[3]
    assert torch.equal(last_weights(network), layer.weight)
    assert split_network(network, "middle").feature_shape == (144,)


def test_branches_are_cut_where_they_meet() -> None:
    assert split_network(residual(with_branch=True), "middle").feature_shape == (196,)


def test_what_cannot_be_cut_says_so() -> None:
    convolution = RunnableModule(nn.Sequential(nn.Conv2d(3, 5, 8), nn.Flatten()), SHAPE, SCALING)
    with pytest.raises(ZoovetError, match="no linear layer of the module makes its answers"):
        split_network(convolution, "middle")
    with pytest.raises(ZoovetError, match="no linear layer of the module makes its answers"):
        last_weights(convolution)
    with pytest.raises(ZoovetError, match="has no site that all later ones depend on alone"):
        split_network(two_heads(), "last map")
    with pytest.raises(ZoovetError, match="no single layer with an output a class makes the network's answers"):
        last_weights(two_heads())


def two_heads() -> RunnableGraphs:
    """The sum of two linear layers of the image."""
    make = GraphBuilder(SHAPE)
    heads = [
        make.add("linear", make.add("flatten", INPUT), parameters={"weight": make.parameter(name, (5, 192))})
        for name in ("a", "b")
    ]
    graph = make.graph(make.add("add", *heads), SCALING)
    return RunnableGraphs(Networks(graph, {name: torch.ones(1, *shape) for name, shape in graph.shapes.items()}))
