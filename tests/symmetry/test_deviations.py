"""How far an output is from what a symmetry asks for: every row counts, whatever its size."""

from __future__ import annotations

import torch

from zoovet.networks.batch import Networks
from zoovet.networks.chains import mlp
from zoovet.symmetry import Action, random_networks
from zoovet.symmetry.deviations import deviation_of_changes


def test_a_leak_in_a_row_that_scaling_made_small_is_seen() -> None:
    """Entries after scaling span e^12, so the tensor's largest entry alone would hide it."""
    graph = mlp((2, 2, 1))
    changes = random_networks(graph, 3, torch.Generator().manual_seed(11))
    still = Action.identity(graph, 3)
    scalars = still.scalars.clone()
    scalars[:, still.symmetry.scale_class[still.symmetry.site_slots("layers.0")]] = torch.tensor([1e-6, 1e6]).double()
    action = Action(still.symmetry, still.slots, scalars)
    after = action(changes)
    assert deviation_of_changes(changes, after, action) < 1e-14
    weight = after.weights[0].clone()
    weight[:, 0] *= 1 + 1e-4
    leaky = Networks.from_layers(graph, (weight, *after.weights[1:]), after.biases)
    assert float((leaky.weights[0] - after.weights[0]).abs().max() / after.weights[0].abs().max()) < 1e-14
    assert deviation_of_changes(changes, leaky, action) > 1e-5
