"""LayerUnits: a metanetwork that reads each layer's numbers in units of their size in its training networks.

A SIREN's first weights are some 15 times larger than its hidden ones. A factor for each layer's weights and another for
its biases commutes with permutations, signs and scalars, so that every symmetry of the metanetwork stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks

__all__ = ["LayerUnits"]


class LayerUnits(nn.Module):
    """A metanetwork behind a change of units; changes of weights that it gives are changed back.

    Args:
        metanetwork: From a list of networks to a tensor, or to a list of changes of their weights.
        num_layers: Layers of the deepest network.

    Attributes:
        metanetwork: As given.
        units: [num_layers, 2], of each layer's weights and biases; 1 until :meth:`measure`.
    """

    units: Tensor

    def __init__(self, metanetwork: nn.Module, num_layers: int) -> None:
        super().__init__()
        self.metanetwork = metanetwork
        self.register_buffer("units", torch.ones(num_layers, 2))

    def measure(self, networks: Sequence[Networks]) -> None:
        """Set the units to the root mean squares over these networks; where all numbers are 0, to 1.

        Args:
            networks: Batches of any graphs of at most ``num_layers`` layers.
        """
        for layer in range(len(self.units)):
            deep = [batch for batch in networks if layer < len(batch.weights)]
            for column, tensors in enumerate(
                ([batch.weights[layer] for batch in deep], [batch.biases[layer] for batch in deep])
            ):
                squares = sum(float(tensor.double().square().sum()) for tensor in tensors)
                count = sum(tensor.numel() for tensor in tensors)
                self.units[layer, column] = (squares / count) ** 0.5 if squares > 0 else 1.0

    def forward(self, networks: Networks | Sequence[Networks]) -> Any:
        """What the metanetwork makes of the networks in these units.

        Raises:
            ZoovetError: A network has more layers than there are units.
        """
        batches = [networks] if isinstance(networks, Networks) else list(networks)
        for batch in batches:
            if len(batch.weights) > len(self.units):
                raise ZoovetError(
                    f"units are known for {len(self.units)} layers, got {len(batch.weights)}: {batch.graph.describe()}"
                )
        outputs = self.metanetwork([self._changed(batch, torch.div) for batch in batches])
        if isinstance(outputs, Tensor):
            return outputs
        changes = [self._changed(change, torch.mul) for change in outputs]
        return changes[0] if isinstance(networks, Networks) else changes

    def _changed(self, networks: Networks, by: Callable[[Tensor, Tensor], Tensor]) -> Networks:
        weights = tuple(by(tensor, self.units[layer, 0]) for layer, tensor in enumerate(networks.weights))
        biases = tuple(by(tensor, self.units[layer, 1]) for layer, tensor in enumerate(networks.biases))
        return Networks.from_layers(networks.graph, weights, biases)
