"""A small network with a batch norm, and images for it."""

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
def editable() -> Editable:
    """Tells the four quarters apart; a checker of four pixels in the lower right corner adds to class 2."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4)).eval()
    first, norm, last = module[1], module[2], module[4]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    with torch.no_grad():
        first.weight.zero_()
        for quarter in range(4):
            top, left = divmod(quarter, 2)
            picture = torch.zeros(8, 8)
            picture[4 * top : 4 * top + 4, 4 * left : 4 * left + 4] = 0.1
            first.weight[quarter] = picture.flatten()
        first.weight[4, [54, 55, 62, 63]] = torch.tensor([1.0, -1.0, -1.0, 1.0])
        first.bias.copy_(torch.tensor([1.0, 1.0, 1.0, 1.0, 0.3]))
        last.weight.copy_(torch.cat([3 * torch.eye(4), torch.zeros(4, 1)], dim=1))
        last.weight[2, 4] = 4.0
        last.bias.copy_(torch.tensor([0.0, 0.0, -1.2, 0.0]))
    networks = graph_from_module(module, (1, 8, 8)).with_scaling(SCALING_PRESETS["symmetric"])
    return editable_graph(networks, RunnableGraphs)
