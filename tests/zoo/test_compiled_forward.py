"""Compiled code gives the interpreter's logits and gradients to images; what it does not know goes through that."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks, run, small_cnn
from zoovet.zoo.compiled_forward import CompiledForward

GRAPHS = {name: small_cnn(name, input_shape=(1, 14, 14)) for name in ("relu", "tanh")}


def networks_of(graph: Graph, count: int = 3) -> Networks:
    generator = torch.Generator().manual_seed(1)
    return Networks.from_flat(graph, 0.3 * torch.randn(count, graph.num_parameters, generator=generator))


def images_of(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape, 1, 14, 14, generator=torch.Generator().manual_seed(2)) - 1


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("input_map", [(), ((1.5, -0.25),)], ids=["as read", "rescaled"])
@pytest.mark.parametrize("shape", [(5,), (3, 5)], ids=["shared", "own"])
def test_logits_and_gradients_are_the_interpreters(name: str, shape: tuple[int, ...], input_map: tuple[()]) -> None:
    compiled, graph = CompiledForward((GRAPHS[name],)), replace(GRAPHS[name], input_map=input_map)
    networks, weights = networks_of(graph), torch.randn(3, 5, 10, generator=torch.Generator().manual_seed(3))
    results = []
    for function in (compiled, run):
        images = images_of(*shape).requires_grad_()
        logits = function(networks, images)
        (logits.log_softmax(-1) * weights).sum().backward()
        assert images.grad is not None
        results.append((logits.detach(), images.grad))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_images_that_all_networks_share_by_expansion_are_each_ones_own() -> None:
    compiled, networks = CompiledForward((GRAPHS["relu"],)), networks_of(GRAPHS["relu"])
    images = images_of(4)
    expanded = compiled(networks, images.expand(3, -1, -1, -1, -1))
    torch.testing.assert_close(expanded, compiled(networks, images), atol=0, rtol=0)


def test_what_it_does_not_know_goes_through_the_interpreter() -> None:
    compiled, networks = CompiledForward((GRAPHS["relu"],)), networks_of(GRAPHS["relu"])
    double = networks.to(dtype=torch.float64)
    assert torch.equal(compiled(double, images_of(4).double()), run(double, images_of(4).double()))
    other = networks_of(GRAPHS["tanh"])
    assert torch.equal(compiled(other, images_of(4)), run(other, images_of(4)))
    for images in (images_of(2, 4), images_of(4)[..., :7], images_of(4).double()):
        with pytest.raises(ZoovetError, match="images"):
            compiled(networks, images)
