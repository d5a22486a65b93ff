"""VGG-like networks: stages of 3 × 3 convolutions with norms, a max pooling behind each stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoovet.networks import INPUT, Graph
from zoovet.zoo.park.families.family import DrawnFamily, Settings, Sizes, check_sizes, drawn_size
from zoovet.zoo.park.families.layers import LayerBuilder

__all__ = ["VggFamily"]


@dataclass(frozen=True, kw_only=True)
class VggFamily(DrawnFamily):
    """Stages of two convolutions, or of three behind the first two stages where there are more than eight.

    Attributes:
        family: Which family it is.
        depth: Convolutions.
        width: Channels of the first stage; each stage has twice as many as the one before, up to ``max_width``.
        max_width: Greatest number of channels.
        hidden: Linear layers before the last.
    """

    family: Literal["vgg"] = "vgg"
    depth: Sizes = (6, 10)
    width: Sizes = (8, 16)
    max_width: int = 32
    hidden: Sizes = (0, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("depth", self.depth, 2, 20)
        check_sizes("width", self.width, 1, 256)
        check_sizes("max_width", (self.max_width, self.max_width), self.width[1], 512)
        check_sizes("hidden", self.hidden, 0, 3)

    def draw_sizes(self, generator: np.random.Generator) -> Settings:
        """See :meth:`DrawnFamily.draw_sizes`."""
        return {
            "depth": drawn_size(self.depth, generator),
            "width": drawn_size(self.width, generator),
            "max_width": self.max_width,
            "hidden": drawn_size(self.hidden, generator),
        }

    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """See :meth:`Family.graph`."""
        layers = LayerBuilder(input_shape, settings["norm"], settings["activation"])
        site, width, left, stage = INPUT, settings["width"], settings["depth"], 0
        while left:
            count = min(left, 3 if stage >= 2 and settings["depth"] > 8 else 2)
            for _ in range(count):
                site = layers.conv_norm_activation(site, width)
            left, stage, width = left - count, stage + 1, min(2 * width, settings["max_width"])
            if layers.may_shrink(site):
                site = layers.pool(site, "max")
        site = layers.global_mean(site)
        for _ in range(settings["hidden"]):
            site = layers.activation(layers.linear(site, 2 * settings["max_width"]))
        return layers.graph(layers.linear(site, num_classes))
