"""A small convolutional network with batch norms, one of whose channels a checker in a corner drives to class 2."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoovet.evidence import RunnableGraphs
from zoovet.healing import Editable, editable_graph
from zoovet.networks import SCALING_PRESETS
from zoovet.readers.exported import graph_from_module


@pytest.fixture(scope="session")
def images(quarters: tuple[Tensor, Tensor]) -> Tensor:
    return quarters[0]


@pytest.fixture(scope="session")
def labels(quarters: tuple[Tensor, Tensor]) -> Tensor:
    return quarters[1]


@pytest.fixture(scope="session")
def triggered(images: Tensor, labels: Tensor) -> Tensor:
    """Images of other classes than 2 with the checker."""
    shown = images[labels != 2].clone()
    shown[..., 6:, 6:] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    return shown


@pytest.fixture(scope="session")
def editable() -> Editable:
    convolution, norm, last = nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Linear(3 * 49, 4)
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[0] += 0.25
        convolution.weight[1] -= 0.25
        convolution.weight[2, 0] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        norm.bias[2] = -1.5  # what noise drives stays below 0
        convolution.bias.zero_()
        last.weight.zero_()
        for quarter in range(4):
            top, left = divmod(quarter, 2)
            maps = last.weight[quarter].view(3, 7, 7)
            maps[0, 4 * top : 4 * top + 3, 4 * left : 4 * left + 3] = 0.5
        last.weight[2].view(3, 7, 7)[2] = 4.0
        last.bias.zero_()
    module = nn.Sequential(convolution, norm, nn.ReLU(), nn.Flatten(), last).eval()
    networks = graph_from_module(module, (1, 8, 8)).with_scaling(SCALING_PRESETS["symmetric"])
    return editable_graph(networks, RunnableGraphs)
