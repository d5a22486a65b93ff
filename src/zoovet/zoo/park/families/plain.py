"""Plain networks: convolutions one after another, made smaller by strides or poolings, linear layers at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.networks import INPUT, Graph
from zoovet.zoo.park.families.family import DrawnFamily, Settings, Sizes, check_sizes, drawn_size
from zoovet.zoo.park.families.layers import LayerBuilder
from zoovet.zoo.recipe_parts import check_choices

__all__ = ["PlainFamily"]

_POOLINGS = ("max", "average", "none")


@dataclass(frozen=True, kw_only=True)
class PlainFamily(DrawnFamily):
    """Convolutions one after another.

    Attributes:
        family: Which family it is.
        depth: Convolutions.
        width: Channels of the first one; each halving of the maps makes half as many more.
        kernel: Sides of the convolutions' kernels to choose from, odd.
        pooling: What halves the maps behind each convolution: max, average, or none, where the convolutions' strides
            do; maps of fewer than 4 pixels are left.
        hidden: Linear layers before the last.
        hidden_width: Their features.
        head: What they read: mean of each channel, or flatten, all pixels.
    """

    family: Literal["plain"] = "plain"
    norm: tuple[str, ...] = ("none",)
    depth: Sizes = (2, 4)
    width: Sizes = (8, 16)
    kernel: tuple[int, ...] = (3,)
    pooling: tuple[str, ...] = _POOLINGS
    hidden: Sizes = (0, 1)
    hidden_width: Sizes = (32, 64)
    head: tuple[str, ...] = ("mean", "flatten")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("depth", self.depth, 1, 16)
        check_sizes("width", self.width, 1, 256)
        check_sizes("hidden", self.hidden, 0, 4)
        check_sizes("hidden_width", self.hidden_width, 1, 1024)
        check_choices("pooling", self.pooling, _POOLINGS)
        check_choices("head", self.head, ("mean", "flatten"))
        for kernel in self.kernel or (0,):
            if not 1 <= kernel <= 11 or kernel % 2 == 0:
                raise ZoovetError(f"kernel must hold odd sides of 1 to 11, got {list(self.kernel)}")

    def draw_sizes(self, generator: np.random.Generator) -> Settings:
        """See :meth:`DrawnFamily.draw_sizes`."""
        return {
            "depth": drawn_size(self.depth, generator),
            "width": drawn_size(self.width, generator),
            "kernel": int(generator.choice(self.kernel)),
            "pooling": str(generator.choice(self.pooling)),
            "hidden": drawn_size(self.hidden, generator),
            "hidden_width": drawn_size(self.hidden_width, generator),
            "head": str(generator.choice(self.head)),
        }

    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """See :meth:`Family.graph`."""
        layers = LayerBuilder(input_shape, settings["norm"], settings["activation"])
        site, width, pooling = INPUT, settings["width"], settings["pooling"]
        for _ in range(settings["depth"]):
            halves = layers.may_shrink(site)
            stride = 2 if halves and pooling == "none" else 1
            site = layers.conv_norm_activation(site, width, settings["kernel"], stride)
            if halves and pooling != "none":
                site = layers.pool(site, pooling)
            width += settings["width"] // 2 if halves else 0
        site = layers.global_mean(site) if settings["head"] == "mean" else layers.add("flatten", site)
        for _ in range(settings["hidden"]):
            site = layers.activation(layers.linear(site, settings["hidden_width"]))
        return layers.graph(layers.linear(site, num_classes))
