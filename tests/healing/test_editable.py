"""What may be edited in a network, and the network with other weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from zoovet.evidence import RunnableGraphs
from zoovet.healing import Editable, editable_graph
from zoovet.healing.editable import last_layers
from zoovet.networks import SCALING_PRESETS, Networks
from zoovet.readers.exported import graph_from_module


def test_statistics_of_batch_norms_are_not_edited(editable: Editable) -> None:
    assert sorted(editable.weights) == ["1.bias", "1.weight", "2.bias", "2.weight", "4.bias", "4.weight"]


def test_the_network_with_other_weights_is_differentiable(editable: Editable, images: Tensor) -> None:
    weights = {name: own.clone().requires_grad_() for name, own in editable.weights.items()}
    logits = editable.logits(weights, images)
    assert torch.equal(logits, editable.logits(editable.weights, images))
    logits.square().sum().backward()
    assert all(own.grad is not None and bool(own.grad.any()) for own in weights.values())


def test_weights_between_are_on_the_line(editable: Editable) -> None:
    edited = {name: own + 2 for name, own in editable.weights.items()}
    half = editable.between(edited, 0.5)
    for name, own in editable.weights.items():
        assert torch.allclose(half[name], own + 1)


def test_weights_stand_as_they_are_computed_with() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    networks = graph_from_module(module, (1, 2, 2)).with_scaling(SCALING_PRESETS["symmetric"])
    turned = replace(networks.graph, parameters=networks.graph.parameters[::-1])
    found = editable_graph(Networks(turned, networks.parameters), RunnableGraphs).weights
    assert list(found) == ["1.weight", "1.bias", "3.weight", "3.bias"]


def test_what_stands_behind_a_layer_belongs_to_it() -> None:
    shapes = {"norm": (3,), "first": (4, 3), "gain": (4,), "second": (4, 4), "third": (2, 4), "bias": (2,)}
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    assert list(last_layers(weights, 0.5)) == ["second", "third", "bias"]
    assert list(last_layers(weights, 1 / 3)) == ["third", "bias"]
    assert list(last_layers(weights, 1.0)) == list(shapes)
    assert list(last_layers({"gain": torch.zeros(3)}, 0.5)) == ["gain"]
