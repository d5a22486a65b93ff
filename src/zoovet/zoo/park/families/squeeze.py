"""Squeeze-and-excitation networks (Hu et al. 2018): residual blocks with weights for their channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoovet.networks import INPUT, Graph
from zoovet.zoo.park.families.family import DrawnFamily, Settings, Sizes, check_sizes, drawn_size
from zoovet.zoo.park.families.layers import LayerBuilder

__all__ = ["SqueezeFamily"]


@dataclass(frozen=True, kw_only=True)
class SqueezeFamily(DrawnFamily):
    """Three stages of one residual block each; compiled code does not know them, so they train through torch.

    Attributes:
        family: Which family it is.
        width: Channels of the first stage; the others have two and four times as many.
        reduction: How many channels share one of the numbers that weights are made of.
    """

    family: Literal["squeeze"] = "squeeze"
    width: Sizes = (8, 16)
    reduction: Sizes = (2, 4)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("width", self.width, 1, 128)
        check_sizes("reduction", self.reduction, 1, 64)

    def draw_sizes(self, generator: np.random.Generator) -> Settings:
        """See :meth:`DrawnFamily.draw_sizes`."""
        return {"width": drawn_size(self.width, generator), "reduction": drawn_size(self.reduction, generator)}

    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """See :meth:`Family.graph`."""
        layers = LayerBuilder(input_shape, settings["norm"], settings["activation"])
        width = settings["width"]
        site = layers.conv_norm_activation(INPUT, width)
        for stage in range(3):
            stride = 2 if stage and layers.may_shrink(site) else 1
            inner = layers.conv_norm(layers.conv_norm_activation(site, width << stage, 3, stride), width << stage)
            inner = _excited(layers, inner, max(1, (width << stage) // settings["reduction"]))
            past = site
            if stride > 1 or layers.channels(site) != width << stage:
                past = layers.conv_norm(site, width << stage, 1, stride)
            site = layers.activation(layers.add("add", inner, past))
        return layers.classifier(site, num_classes)


def _excited(layers: LayerBuilder, site: str, squeezed: int) -> str:
    means = layers.add("adaptive_avg_pool2d", site, output_size=(1, 1))
    inner = layers.activation(layers.conv(means, squeezed, 1, bias=True))
    weights = layers.add("sigmoid", layers.conv(inner, layers.channels(site), 1, bias=True))
    return layers.add("mul", site, weights)
