"""Depthwise-separable networks (Howard et al. 2017): a convolution of each channel, then one of 1 × 1 over all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoovet.networks import INPUT, Graph
from zoovet.zoo.park.families.family import DrawnFamily, Settings, Sizes, check_sizes, drawn_size
from zoovet.zoo.park.families.layers import LayerBuilder

__all__ = ["SeparableFamily"]


@dataclass(frozen=True, kw_only=True)
class SeparableFamily(DrawnFamily):
    """A convolution, then pairs of a depthwise one and one of 1 × 1, each with norm and activation.

    Attributes:
        family: Which family it is.
        depth: Pairs; every second one halves the maps and doubles the channels.
        width: Channels of the first convolution.
        max_width: Greatest number of channels.
    """

    family: Literal["separable"] = "separable"
    depth: Sizes = (4, 6)
    width: Sizes = (12, 24)
    max_width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("depth", self.depth, 1, 16)
        check_sizes("width", self.width, 1, 128)
        check_sizes("max_width", (self.max_width, self.max_width), self.width[1], 512)

    def draw_sizes(self, generator: np.random.Generator) -> Settings:
        """See :meth:`DrawnFamily.draw_sizes`."""
        return {
            "depth": drawn_size(self.depth, generator),
            "width": drawn_size(self.width, generator),
            "max_width": self.max_width,
        }

    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """See :meth:`Family.graph`."""
        layers = LayerBuilder(input_shape, settings["norm"], settings["activation"])
        width = settings["width"]
        site = layers.conv_norm_activation(INPUT, width)
        for pair in range(settings["depth"]):
            halves = pair % 2 == 1 and layers.may_shrink(site)
            site = layers.conv_norm_activation(site, width, 3, 2 if halves else 1, width)
            width = min(2 * width, settings["max_width"]) if halves else width
            site = layers.conv_norm_activation(site, width, 1)
        return layers.classifier(site, num_classes)
