"""Wide residual networks of 6 n + 4 layers (Zagoruyko and Komodakis 2016), activations before the convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.networks import Graph
from zoovet.zoo.park.families.family import DrawnFamily, Settings, Sizes, check_sizes, drawn_size
from zoovet.zoo.park.families.layers import LayerBuilder
from zoovet.zoo.park.families.residual import residual_graph

__all__ = ["WideResnetFamily"]


@dataclass(frozen=True, kw_only=True)
class WideResnetFamily(DrawnFamily):
    """A narrow stem, and three stages that are wider.

    Attributes:
        family: Which family it is.
        depth: Numbers of layers to choose from, each 6 n + 4: 10 has a block a stage.
        stem: Channels of the first convolution; the stages have once, twice and four times as many, times the factor.
        widening: The factor.
        stem_stride: Strides of the first convolution to choose from.
    """

    family: Literal["wide_resnet"] = "wide_resnet"
    depth: tuple[int, ...] = (10,)
    stem: Sizes = (4, 8)
    widening: Sizes = (2, 3)
    stem_stride: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.depth or any(depth < 10 or depth > 58 or depth % 6 != 4 for depth in self.depth):
            raise ZoovetError(f"depth of a wide_resnet must hold numbers 6 n + 4 of 10 to 58, got {list(self.depth)}")
        check_sizes("stem", self.stem, 1, 64)
        check_sizes("widening", self.widening, 1, 16)
        if not self.stem_stride or not set(self.stem_stride) <= {1, 2}:
            raise ZoovetError(f"stem_stride must hold 1 or 2, got {list(self.stem_stride)}")

    def draw_sizes(self, generator: np.random.Generator) -> Settings:
        """See :meth:`DrawnFamily.draw_sizes`."""
        return {
            "depth": int(generator.choice(self.depth)),
            "stem": drawn_size(self.stem, generator),
            "widening": drawn_size(self.widening, generator),
            "stem_stride": int(generator.choice(self.stem_stride)),
        }

    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """See :meth:`Family.graph`."""
        first = settings["stem"] * settings["widening"]
        return residual_graph(
            LayerBuilder(input_shape, settings["norm"], settings["activation"]),
            stem=settings["stem"],
            stem_stride=settings["stem_stride"],
            widths=(first, 2 * first, 4 * first),
            blocks=(settings["depth"] - 4) // 6,
            preactivation=True,
            shortcut="conv",
            num_classes=num_classes,
        )
