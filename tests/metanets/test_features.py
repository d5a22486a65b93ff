from __future__ import annotations

import torch

from zoovet.metanets import ScaleGMN, ScaleGMNConfig
from zoovet.metanets.batching import read_batch
from zoovet.metanets.plan import plan_rounds
from zoovet.networks.chains import small_cnn
from zoovet.symmetry import random_networks


def test_edges_are_no_longer_than_their_features_however_large_a_kernel_is() -> None:
    networks = random_networks(small_cnn(), 2, torch.Generator().manual_seed(0))
    for width, length in ((4, 4), (16, 3 * 3 + 1)):
        model = ScaleGMN(ScaleGMNConfig(width=width, num_layers=2), torch.Generator().manual_seed(0)).double()
        batch = read_batch(networks, None, None, config=model.config, behaviour=model.behaviour, dtype=torch.float64)
        edges = model._first_edges(batch, plan_rounds(batch.buckets, model._plan_options()))
        assert [rows.shape[1] for each in edges for rows in each.parts] == [length, length]
