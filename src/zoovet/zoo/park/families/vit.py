"""Small vision transformers (Dosovitskiy et al. 2021): patches as rows, attention between them, norms before both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.networks import INPUT, Graph, GraphBuilder
from zoovet.zoo.park.families.family import Family, Settings, Sizes, check_sizes, drawn_size
from zoovet.zoo.park.families.layers import ACTIVATIONS
from zoovet.zoo.recipe_parts import check_choices

__all__ = ["VitFamily"]


@dataclass(frozen=True, kw_only=True)
class VitFamily(Family):
    """Blocks of attention and two linear layers; compiled code does not know them, so they train through torch.

    Attributes:
        family: Which family it is.
        activation: Activations between the two linear layers to choose from.
        patch: Sides of the patches to choose from, in pixels; what is left at the edges is not read.
        depth: Blocks.
        heads: Numbers of attention heads to choose from.
        head_width: Numbers a head has of each row; a row has as many times these as there are heads.
        expansion: How many times as wide as a row a block's inner linear layer is.
        reads: What the last layer reads, choices: mean of the rows, or token, a row of its own that is learned.
    """

    family: Literal["vit"] = "vit"
    activation: tuple[str, ...] = ("gelu",)
    patch: tuple[int, ...] = (4,)
    depth: Sizes = (2, 3)
    heads: tuple[int, ...] = (2, 4)
    head_width: Sizes = (8, 12)
    expansion: Sizes = (2, 3)
    reads: tuple[str, ...] = ("mean", "token")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices("activation", self.activation, ACTIVATIONS)
        check_choices("reads", self.reads, ("mean", "token"))
        check_sizes("depth", self.depth, 1, 12)
        check_sizes("head_width", self.head_width, 1, 64)
        check_sizes("expansion", self.expansion, 1, 8)
        for name, least, most in (("patch", 2, 16), ("heads", 1, 16)):
            values = getattr(self, name)
            if not values or not all(least <= value <= most for value in values):
                raise ZoovetError(f"{name} of a vit must hold numbers of {least} to {most}, got {list(values)}")

    def draw(self, generator: np.random.Generator) -> Settings:
        """See :meth:`Family.draw`."""
        return {
            "activation": str(generator.choice(self.activation)),
            "patch": int(generator.choice(self.patch)),
            "depth": drawn_size(self.depth, generator),
            "heads": int(generator.choice(self.heads)),
            "head_width": drawn_size(self.head_width, generator),
            "expansion": drawn_size(self.expansion, generator),
            "reads": str(generator.choice(self.reads)),
        }

    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """See :meth:`Family.graph`."""
        patch, (_, height, width) = settings["patch"], input_shape
        if min(height, width) < 2 * patch:
            raise ZoovetError(
                f"patches of {patch} pixels are fewer than 2 x 2 on images of {height} x {width}; give a smaller patch"
            )
        builder = _Builder(input_shape, settings["heads"], settings["head_width"])
        rows = builder.patches(patch)
        if settings["reads"] == "token":
            rows = builder.add("cat", builder.learned("token", (1, builder.width)), rows, dim=0)
        rows = builder.add("add", rows, builder.learned("places", builder.site(rows).shape))
        for _ in range(settings["depth"]):
            rows = builder.add("add", rows, builder.attention(builder.norm(rows)))
            inner = builder.linear(builder.norm(rows), settings["expansion"] * builder.width)
            rows = builder.add("add", rows, builder.linear(builder.add(settings["activation"], inner), builder.width))
        rows = builder.norm(rows)
        read = builder.add("select", rows, dim=0, index=0) if settings["reads"] == "token" else builder.mean(rows)
        return builder.graph(builder.linear(read, num_classes))


class _Builder(GraphBuilder):
    """Layers of a transformer; each method adds one behind a site of rows [places, width] and returns what it makes.

    Args:
        input_shape: ``(channels, height, width)`` of an image.
        heads: Attention heads.
        head_width: Numbers of each.
    """

    def __init__(self, input_shape: tuple[int, int, int], heads: int, head_width: int) -> None:
        super().__init__(input_shape)
        self.width = heads * head_width
        self._heads, self._head_width, self._count = heads, head_width, 0

    def patches(self, patch: int) -> str:
        """A row for every patch of the images."""
        weight = self.parameter("patches.weight", (self.width, self.input_shape[0], patch, patch))
        roles = {"weight": weight, "bias": self.parameter("patches.bias", (self.width,))}
        maps = self.add("conv2d", INPUT, parameters=roles, stride=(patch, patch))
        _, down, across = self.site(maps).shape
        return self.add("permute", self.add("reshape", maps, shape=(self.width, down * across)), dims=(1, 0))

    def learned(self, name: str, shape: tuple[int, ...]) -> str:
        """Rows that are weights themselves."""
        return self.add("parameter", name=name, parameters={"value": self.parameter(name, shape)}, channel_axis=1)

    def norm(self, rows: str) -> str:
        """Each row at mean 0 and deviation 1, then scaled."""
        name = self._named("norm")
        roles = {role: self.parameter(f"{name}.{role}", (self.width,)) for role in ("weight", "bias")}
        return self.add("layer_norm", rows, name=name, parameters=roles, normalized_shape=(self.width,))

    def linear(self, rows: str, features: int) -> str:
        """A linear layer of each row."""
        name = self._named("linear")
        weight = self.parameter(f"{name}.weight", (features, self.site(rows).shape[-1]))
        roles = {"weight": weight, "bias": self.parameter(f"{name}.bias", (features,))}
        return self.add("linear", rows, name=name, parameters=roles)

    def attention(self, rows: str) -> str:
        """Attention of the rows to each other, in heads."""
        places = self.site(rows).shape[0]
        parts = []
        for _ in range(3):
            split = (places, self._heads, self._head_width)
            heads = self.add("reshape", self.linear(rows, self.width), shape=split)
            parts.append(self.add("permute", heads, dims=(1, 0, 2)))
        mixed = self.add("permute", self.add("scaled_dot_product_attention", *parts), dims=(1, 0, 2))
        return self.linear(self.add("reshape", mixed, shape=(places, self.width)), self.width)

    def mean(self, rows: str) -> str:
        """The mean of the rows."""
        return self.add("mean", rows, dim=(0,))

    def _named(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"
