"""An ensemble says what its members say on average."""

from __future__ import annotations

import copy

import torch

from zoovet.metanets import Ensemble, ScaleGMN, ScaleGMNConfig
from zoovet.networks import Networks, small_cnn

CONFIG = ScaleGMNConfig(width=8, num_layers=2, max_depth=2, max_outputs=3)


def members(count: int) -> list[ScaleGMN]:
    return [ScaleGMN(CONFIG, torch.Generator().manual_seed(index)) for index in range(count)]


def networks(count: int = 4) -> Networks:
    graph = small_cnn("relu", input_shape=(1, 8, 8), channels=(4,), num_classes=3)
    flat = torch.randn(count, graph.num_parameters, generator=torch.Generator().manual_seed(9))
    return Networks.from_flat(graph, flat)


def test_it_is_the_mean_of_its_members() -> None:
    alone = members(3)
    together = Ensemble(copy.deepcopy(alone))
    batch = networks()
    expected = torch.stack([member([batch]) for member in alone])
    assert expected.std(dim=0).min() > 1e-4
    torch.testing.assert_close(together([batch]), expected.mean(dim=0))
    torch.testing.assert_close(torch.stack(together.outputs([batch])), expected)
