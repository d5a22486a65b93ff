"""A released configuration and checkpoint as a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.metanets.official.names import load_state
from zoovet.metanets.official.settings import read_settings
from zoovet.metanets.scalegmn import ScaleGMN
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph

__all__ = ["Changes", "OfficialScaleGMN", "from_official"]

Changes = tuple[list[Tensor], list[Tensor]]
"""Changes of the weights, per layer [B, out, in], and of the biases, per layer [B, out]."""


class OfficialScaleGMN(nn.Module):
    """A released model: our ScaleGMN with the released code's deviations from the mathematics.

    Args:
        metanetwork: Ours, with the released parameters.
        graph: What the networks are that it reads.
    """

    def __init__(self, metanetwork: ScaleGMN, graph: Graph) -> None:
        super().__init__()
        self.metanetwork = metanetwork
        self.graph = graph

    def forward(
        self, networks: Networks | Sequence[Networks], activations: Sequence[str] | None = None
    ) -> Tensor | Changes | list[Changes]:
        """Read networks.

        Args:
            networks: Networks of the model's layers, in any batch size; or a list of such that differ in activation.
            activations: Each network's activation, where it is not its graph's (mixed models).

        Returns:
            Graph output: [networks, num_outputs]. Weight output: for ``Networks`` a pair, the changes of the weights
            per layer [B, out, in] and of the biases per layer [B, out]; for a list of them a list of pairs.

        Raises:
            ZoovetError: The networks' layers are not the model's, an activation has another symmetry than the model, or
                a weight is NaN or infinite.
        """
        given = [networks] if isinstance(networks, Networks) else list(networks)
        for part in given:
            if isinstance(part, Networks):
                _require_fit(part.graph, self.graph)
        if self.metanetwork.config.output == "graph":
            output: Tensor = self.metanetwork(given, activations)
            return output
        changes = self.metanetwork.changes(given, activations)
        return changes[0] if isinstance(networks, Networks) else changes


def from_official(scalegmn_args: Mapping[str, Any], state_dict: Mapping[str, Tensor], graph: Graph) -> OfficialScaleGMN:
    """Build our model from the released code's configuration block and parameters.

    Args:
        scalegmn_args: The configuration block (``scalegmn_args``).
        state_dict: All parameters by their released names.
        graph: What the networks are that the model reads. Its layers must be those of ``layer_layout``; input nodes
            have the feature 0 where it has convolutions and 1 where it has none, as in the released code.

    Returns:
        The model, in float64 and in evaluation mode; call ``.float()`` for speed. Networks are read in the model's
        precision.

    Raises:
        ZoovetError: The block has an unknown or missing key or a value outside what released models use; the state dict
            has a missing, unknown or misshapen parameter; the graph does not fit. The message names the key, what is
            expected and what was received.
    """
    settings = read_settings(scalegmn_args, graph)
    metanetwork = ScaleGMN(settings.config, behaviour=settings.behaviour).to(torch.float64)
    load_state(metanetwork, state_dict, settings.layer_layout)
    return OfficialScaleGMN(metanetwork, graph).eval()


def _require_fit(received: Graph, expected: Graph) -> None:
    def layers(graph: Graph) -> list[tuple[str, tuple[int, ...]]]:
        return [(layer.kind, layer.weight_shape) for layer in graph.chain.layers]

    if layers(received) != layers(expected):
        raise ZoovetError(f"the model reads networks {expected.describe()}, got {received.describe()}")
