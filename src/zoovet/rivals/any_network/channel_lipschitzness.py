"""CLP for networks with batch norms: channels whose Lipschitz constant stands out are pruned. Needs no images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import RunnableGraphs
from zoovet.healing import Editable, FloatingWeights
from zoovet.networks import Networks

__all__ = ["ChannelLipschitzness"]


@dataclass(frozen=True, kw_only=True)
class ChannelLipschitzness:
    """Sets a channel of a batch norm behind a convolution, or of a convolution alone, to zero where it stands out.

    Source: Zheng, Tang, Li and Liu 2022, *Data-free Backdoor Removal based on Channel Lipschitzness*, section 4.2: the
    bound of a channel is its kernel's spectral norm times the batch norm's gain over its deviation.

    Attributes:
        threshold: u, in standard deviations over the channels of a layer.
    """

    threshold: float = 3.0

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ZoovetError(f"threshold must be above 0 standard deviations, got {self.threshold}")

    def heal(self, editable: Editable, images: Tensor, labels: Tensor) -> FloatingWeights:
        """See :class:`~zoovet.rivals.any_network.Healer`; the images are not looked at.

        Raises:
            ZoovetError: The network's graph is not known.
        """
        network = editable.with_weights(editable.weights)
        if not isinstance(network, RunnableGraphs):
            raise ZoovetError("channels are those of a graph's convolutions, and this network's graph is not known")
        weights = dict(editable.weights)
        for names, bound in _bounds(network.networks):
            keep = bound <= bound.mean() + self.threshold * bound.std(correction=0)
            for name in names:
                weights[name] = weights[name] * keep.view(-1, *[1] * (weights[name].ndim - 1)).to(weights[name])
        return weights


def _bounds(networks: Networks) -> list[tuple[list[str], Tensor]]:
    """Of each convolution: what of a channel is set to zero, and the channels' bounds."""
    graph, found = networks.graph, []
    for step in graph.operations:
        if step.op != "conv2d":
            continue
        kernel = networks.parameters[step.parameters["weight"]][0]
        bound = torch.linalg.matrix_norm(kernel.flatten(2), ord=2)
        readers = [reader for reader in graph.readers[step.output] if reader.op == "batch_norm"]
        owner = readers[0] if readers else step
        names = [owner.parameters[role] for role in ("weight", "bias") if role in owner.parameters]
        if readers:
            own = {role: networks.parameters[name][0] for role, name in owner.parameters.items()}
            gain = own["weight"].abs() if "weight" in own else 1.0
            bound = bound * gain / (own["running_var"] + owner.attributes["eps"]).sqrt()
        if names:
            found.append((names, bound))
    return found
