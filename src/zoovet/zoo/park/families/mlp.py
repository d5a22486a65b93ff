"""Multilayer perceptrons: linear layers of all pixels, no convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoovet.networks import INPUT, Graph
from zoovet.zoo.park.families.family import DrawnFamily, Settings, Sizes, check_sizes, drawn_size
from zoovet.zoo.park.families.layers import LayerBuilder

__all__ = ["MlpFamily"]


@dataclass(frozen=True, kw_only=True)
class MlpFamily(DrawnFamily):
    """Linear layers with norms and activations.

    Attributes:
        family: Which family it is.
        depth: Hidden layers.
        width: Features of each.
    """

    family: Literal["mlp"] = "mlp"
    norm: tuple[str, ...] = ("none", "batch")
    depth: Sizes = (1, 3)
    width: Sizes = (32, 128)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("depth", self.depth, 1, 8)
        check_sizes("width", self.width, 1, 2048)

    def draw_sizes(self, generator: np.random.Generator) -> Settings:
        """See :meth:`DrawnFamily.draw_sizes`."""
        return {"depth": drawn_size(self.depth, generator), "width": drawn_size(self.width, generator)}

    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """See :meth:`Family.graph`."""
        layers = LayerBuilder(input_shape, settings["norm"], settings["activation"])
        site = layers.add("flatten", INPUT)
        for _ in range(settings["depth"]):
            site = layers.activation(layers.norm(layers.linear(site, settings["width"])))
        return layers.graph(layers.linear(site, num_classes))
