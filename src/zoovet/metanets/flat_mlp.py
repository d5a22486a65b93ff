"""FlatMLP: an MLP on the flat vector of a network's weights, the rival that knows of no symmetry at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph

__all__ = ["FlatMLP", "FlatMLPConfig"]


@dataclass(frozen=True, kw_only=True)
class FlatMLPConfig:
    """Configuration of :class:`FlatMLP`.

    Attributes:
        kind: Which metanetwork.
        width: Features of a hidden layer.
        num_layers: Hidden layers.
        num_outputs: Numbers for the whole network.
        dropout: Probability with which a hidden feature is dropped, in training.
        num_parameters: Weights and biases of a network that it reads; training fills it in where it is left out.

    Raises:
        ZoovetError: A value out of its range.
    """

    kind: Literal["flat_mlp"] = "flat_mlp"
    width: int = 512
    num_layers: int = 3
    num_outputs: int = 1
    dropout: float = 0.0
    num_parameters: int | None = None

    def __post_init__(self) -> None:
        for name in ("width", "num_layers", "num_outputs"):
            if getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ZoovetError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if self.num_parameters is not None and self.num_parameters < 1:
            raise ZoovetError(f"num_parameters must be at least 1, or null, got {self.num_parameters}")

    @property
    def output(self) -> str:
        """What it gives: numbers for the whole network, as a ScaleGMN with the output ``graph``."""
        return "graph"

    def with_input_shape(self, graphs: Iterable[Graph]) -> FlatMLPConfig:
        """The same configuration with the number of parameters of these graphs filled in, where it was left out.

        Raises:
            ZoovetError: The graphs differ in their shapes, so that a flat vector's places would mean different things.
        """
        graphs = list(graphs)
        if len({graph.chain.weight_shapes for graph in graphs}) != 1:
            raise ZoovetError(
                f"an MLP on flat weights needs networks of one shape, got {len(graphs)} graphs whose shapes differ; "
                "use kind scalegmn, or a zoo of one architecture"
            )
        return self if self.num_parameters is not None else replace(self, num_parameters=graphs[0].num_parameters)


class FlatMLP(nn.Module):
    """Flat weights, normalized, then Linear, LayerNorm, SiLU and dropout once a hidden layer, then Linear.

    Each weight is normalized by its mean and variance: the batch's in training, then training's running ones.

    Args:
        config: Its configuration, with ``num_parameters``.
        generator: Source of the initial parameters; ``None`` for torch's own.

    Raises:
        ZoovetError: ``num_parameters`` is left out.
    """

    def __init__(self, config: FlatMLPConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if config.num_parameters is None:
            raise ZoovetError("an MLP on flat weights needs to know how many there are; set num_parameters")
        self.config = config
        self.normalize = nn.BatchNorm1d(config.num_parameters, eps=1e-10, affine=False)
        layers: list[nn.Module] = []
        width = config.num_parameters
        for _ in range(config.num_layers):
            layers += [nn.Linear(width, config.width), nn.LayerNorm(config.width), nn.SiLU()]
            layers += [nn.Dropout(config.dropout)] if config.dropout else []
            width = config.width
        self.layers = nn.Sequential(*layers, nn.Linear(width, config.num_outputs))
        for module in self.layers:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear", generator=generator)
                nn.init.zeros_(module.bias)

    def forward(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Read networks.

        Args:
            networks: B networks, or batches of several graphs of one shape.

        Returns:
            [B, num_outputs], in the order of the networks.

        Raises:
            ZoovetError: Networks of another number of parameters than the MLP was built for.
        """
        batches = [networks] if isinstance(networks, Networks) else networks
        for batch in batches:
            if batch.graph.num_parameters != self.config.num_parameters:
                raise ZoovetError(
                    f"this MLP reads networks of {self.config.num_parameters} parameters, got {batch.graph.describe()} "
                    f"with {batch.graph.num_parameters}"
                )
        outputs: Tensor = self.layers(self.normalize(torch.cat([batch.flat() for batch in batches])))
        return outputs
