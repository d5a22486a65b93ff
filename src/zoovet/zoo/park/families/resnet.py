"""Residual networks of 6 n + 2 layers (He et al. 2016), with activations behind or before the convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.networks import Graph
from zoovet.zoo.park.families.family import DrawnFamily, Settings, Sizes, check_sizes, drawn_size
from zoovet.zoo.park.families.layers import LayerBuilder
from zoovet.zoo.park.families.residual import residual_graph
from zoovet.zoo.recipe_parts import check_choices

__all__ = ["ResnetFamily"]

SHORTCUTS = ("conv", "pool")


@dataclass(frozen=True, kw_only=True)
class ResnetFamily(DrawnFamily):
    """Three stages of residual blocks of two convolutions.

    Attributes:
        family: Which family it is.
        depth: Numbers of layers to choose from, each 6 n + 2: 8 has a block a stage, 14 two.
        width: Channels of the first stage; the others have two and four times as many.
        order: post, where norms and activations stand behind the convolutions, or pre.
        shortcut: What goes past a block that changes the size: conv, a strided convolution of 1 × 1, or pool, an
            average pooling before one.
        stem_stride: Strides of the first convolution to choose from.
    """

    family: Literal["resnet"] = "resnet"
    depth: tuple[int, ...] = (8, 14)
    width: Sizes = (8, 16)
    order: tuple[str, ...] = ("post", "pre")
    shortcut: tuple[str, ...] = SHORTCUTS
    stem_stride: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.depth or any(depth < 8 or depth > 56 or depth % 6 != 2 for depth in self.depth):
            raise ZoovetError(f"depth of a resnet must hold numbers 6 n + 2 of 8 to 56, got {list(self.depth)}")
        check_sizes("width", self.width, 1, 128)
        check_choices("order", self.order, ("post", "pre"))
        check_choices("shortcut", self.shortcut, SHORTCUTS)
        if not self.stem_stride or not set(self.stem_stride) <= {1, 2}:
            raise ZoovetError(f"stem_stride must hold 1 or 2, got {list(self.stem_stride)}")

    def draw_sizes(self, generator: np.random.Generator) -> Settings:
        """See :meth:`DrawnFamily.draw_sizes`."""
        return {
            "depth": int(generator.choice(self.depth)),
            "width": drawn_size(self.width, generator),
            "order": str(generator.choice(self.order)),
            "shortcut": str(generator.choice(self.shortcut)),
            "stem_stride": int(generator.choice(self.stem_stride)),
        }

    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """See :meth:`Family.graph`."""
        width = settings["width"]
        return residual_graph(
            LayerBuilder(input_shape, settings["norm"], settings["activation"]),
            stem=width,
            stem_stride=settings["stem_stride"],
            widths=(width, 2 * width, 4 * width),
            blocks=(settings["depth"] - 2) // 6,
            preactivation=settings["order"] == "pre",
            shortcut=settings["shortcut"],
            num_classes=num_classes,
        )
