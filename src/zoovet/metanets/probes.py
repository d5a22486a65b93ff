"""Learned probe inputs: what a network does with a few inputs of the metanetwork's own, as features of its nodes.

A neuron's activation moves and scales with the neuron, so that its mean over the map on each probe is a feature of its
node that every symmetry of the network respects; the logits are features of the output nodes, which nothing moves.
The probes are parameters of the metanetwork, learned with it; no data is needed to use them.
Sources: Kofinas et al. 2024, *Graph Neural Networks for Learning Equivariant Representations of Neural Networks* (probe
features); Xu et al. 2021, *Detecting AI Trojans Using Meta Neural Analysis* (learned queries).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.layer_values import forward_means

__all__ = ["Probes"]

_SPREAD = 20.0
"""Inputs are tanh(_SPREAD · parameter): at one learning rate a probe then moves this much faster than other weights."""


class Probes(nn.Module):
    """Learned inputs in [-1, 1], and the node features that networks get from them.

    Args:
        num_probes: How many.
        shape: Of one input: (channels, height, width), or (features,).
        generator: Source of the initial inputs; ``None`` for torch's own.
    """

    def __init__(self, num_probes: int, shape: Sequence[int], generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.inputs = nn.Parameter(torch.empty(num_probes, *shape))
        self.initialize(generator)

    def initialize(self, generator: torch.Generator | None = None) -> None:
        """Draw the inputs anew: noise around gray."""
        nn.init.normal_(self.inputs, std=0.5 / _SPREAD, generator=generator)

    def images(self) -> Tensor:
        """The inputs as the networks see them: [num_probes, \\*shape] in [-1, 1]."""
        return torch.tanh(_SPREAD * self.inputs)

    def forward(self, networks: Sequence[Networks]) -> list[list[Tensor]]:
        """Features of every node.

        Args:
            networks: Networks of any graphs that read inputs of the probes' shape.

        Returns:
            For each of the ``Networks``, per channel group [B, n, num_probes]: zero for input nodes, mean activation
            over the map for hidden ones, logits for output ones.

        Raises:
            ZoovetError: Networks read inputs of another shape.
        """
        images = self.images()
        return [self._features(some, images.to(some.dtype)) for some in networks]

    def _features(self, networks: Networks, images: Tensor) -> list[Tensor]:
        if tuple(images.shape[1:]) != networks.graph.input_shape:
            raise ZoovetError(
                f"the metanetwork's probes have the shape {tuple(images.shape[1:])}, but the networks read inputs of "
                f"{networks.graph.input_shape}; set input_shape to that and train anew"
            )
        chain = networks.graph.chain
        widths = [layer.out_channels for layer in chain.layers]
        means = [values.mT for values in forward_means(networks, images).split(widths, dim=2)]
        return [images.new_zeros(len(networks), chain.groups[0].size, len(images)), *means]
