"""Densely connected networks (Huang et al. 2017): each layer reads what all layers of its block before it made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoovet.networks import INPUT, Graph
from zoovet.zoo.park.families.family import DrawnFamily, Settings, Sizes, check_sizes, drawn_size
from zoovet.zoo.park.families.layers import LayerBuilder

__all__ = ["DensenetFamily"]


@dataclass(frozen=True, kw_only=True)
class DensenetFamily(DrawnFamily):
    """Three dense blocks, with a convolution of 1 × 1 and an average pooling between them.

    Attributes:
        family: Which family it is.
        depth: Layers of a block.
        growth: Channels that each of them adds; the first convolution has twice as many.
    """

    family: Literal["densenet"] = "densenet"
    depth: Sizes = (2, 3)
    growth: Sizes = (6, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("depth", self.depth, 1, 16)
        check_sizes("growth", self.growth, 1, 64)

    def draw_sizes(self, generator: np.random.Generator) -> Settings:
        """See :meth:`DrawnFamily.draw_sizes`."""
        return {"depth": drawn_size(self.depth, generator), "growth": drawn_size(self.growth, generator)}

    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """See :meth:`Family.graph`."""
        layers = LayerBuilder(input_shape, settings["norm"], settings["activation"])
        site = layers.conv(INPUT, 2 * settings["growth"])
        for block in range(3):
            for _ in range(settings["depth"]):
                grown = layers.norm_activation_conv(site, settings["growth"])
                site = layers.add("cat", site, grown, dim=0)
            if block < 2:
                site = layers.norm_activation_conv(site, layers.channels(site) // 2, 1)
                if layers.may_shrink(site):
                    site = layers.pool(site, "average")
        return layers.classifier(layers.activation(layers.norm(site)), num_classes)
