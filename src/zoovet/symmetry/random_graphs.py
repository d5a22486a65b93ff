"""Random graphs of every sort that laws are known for: what a symmetry check should be run on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from zoovet.errors import ZoovetError
from zoovet.networks.graph import INPUT, Graph
from zoovet.networks.graph_builder import GraphBuilder

__all__ = ["BLOCKS", "random_graph"]

_ACTIVATIONS = (
    *("relu", "relu", "relu", "leaky_relu", "tanh", "tanh", "sin", "prelu", "abs"),
    *("gelu", "silu", "sigmoid", "elu", "selu", "mish", "softplus", "hardswish", "hardsigmoid", "relu6"),
)
_NORMS = ("batch_norm", "batch_norm", "batch_norm", "channel_affine", "group_norm", "instance_norm", "none", "none")


class _Draft:
    """A graph in the making, and the draws that it is made by."""

    def __init__(self, input_shape: tuple[int, ...], generator: torch.Generator) -> None:
        self.generator = generator
        self.builder = GraphBuilder(input_shape)
        self._num_operations = 0

    def add(self, op: str, *inputs: str, shapes: Mapping[str, Sequence[int]] | None = None, **attributes: Any) -> str:
        """Append an operation with parameters of these shapes by role; gives the name of its site."""
        name = f"{op}{self._num_operations}"
        self._num_operations += 1
        parameters = {
            role: self.builder.parameter(f"{name}.{role}", tuple(shape), is_constant=role.startswith("running"))
            for role, shape in (shapes or {}).items()
        }
        return self.builder.add(op, *inputs, name=name, parameters=parameters, **attributes)

    def shape(self, site: str) -> tuple[int, ...]:
        """Of a site."""
        return self.builder.site(site).shape

    def integer(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both possible."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def choice(self, items: Sequence[Any]) -> Any:
        """One of them."""
        return items[self.integer(0, len(items) - 1)]

    def channels(self, site: str) -> int:
        """Length of the first axis."""
        return self.shape(site)[0]

    def conv(self, site: str, width: int, kernel: int = 3, *, stride: int = 1, groups: int = 1) -> str:
        """A convolution that keeps the map's size but for its stride, with or without a bias."""
        shapes: dict[str, tuple[int, ...]] = {"weight": (width, self.channels(site) // groups, kernel, kernel)}
        if self.integer(0, 1):
            shapes["bias"] = (width,)
        padding = (kernel // 2,) * 4
        return self.add("conv2d", site, shapes=shapes, stride=(stride, stride), padding=padding, groups=groups)

    def norm(self, site: str, kind: str | None = None) -> str:
        """A normalization of some kind, with or without its weight and bias; or none."""
        kind, channels = kind or self.choice(_NORMS), self.channels(site)
        if kind == "none":
            return site
        shapes: dict[str, Sequence[int]] = {"weight": (channels,), "bias": (channels,)}
        if kind != "channel_affine" and not self.integer(0, 3):
            shapes.pop(self.choice(("weight", "bias")))
        if kind == "batch_norm":
            shapes |= {"running_mean": (channels,), "running_var": (channels,)}
        options = {"num_groups": 2 if channels % 2 == 0 else 1} if kind == "group_norm" else {}
        return self.add(kind, site, shapes=shapes, **options)

    def activation(self, site: str) -> str:
        """An activation of some kind."""
        kind = self.choice(_ACTIVATIONS)
        shapes = {"weight": (self.channels(site),)} if kind == "prelu" else None
        return self.add(kind, site, shapes=shapes)


def _plain(draft: _Draft, site: str) -> str:
    site = draft.activation(draft.norm(draft.conv(site, draft.integer(1, 9), draft.choice((1, 3)))))
    if min(draft.shape(site)[1:]) >= 4 and draft.integer(0, 1):
        kind = draft.choice(("max_pool2d", "avg_pool2d"))
        site = draft.add(kind, site, kernel_size=(2, 2), stride=(2, 2))
    return site


def _residual(draft: _Draft, site: str) -> str:
    """Post-activation; the shortcut is the identity, a 1×1 convolution, or padded with channels of zeros."""
    before, shortcut = draft.channels(site), draft.choice(("identity", "conv", "zeros"))
    width = before if shortcut == "identity" else before + draft.integer(0, 4)
    inner = draft.activation(draft.norm(draft.conv(site, draft.integer(2, 8))))
    inner = draft.norm(draft.conv(inner, width))
    past = site
    if shortcut == "conv":
        past = draft.norm(draft.conv(site, width, 1))
    elif shortcut == "zeros" and width > before:
        first = draft.integer(0, width - before)
        past = draft.add("pad", site, pad=(first, width - before - first, 0, 0, 0, 0))
    return draft.activation(draft.add("add", inner, past))


def _pre_activation(draft: _Draft, site: str) -> str:
    inner = draft.activation(draft.norm(site, "batch_norm"))
    inner = draft.conv(draft.activation(draft.norm(draft.conv(inner, draft.integer(2, 8)))), draft.channels(site))
    return draft.add("add", site, inner)


def _dense(draft: _Draft, site: str) -> str:
    for _ in range(draft.integer(1, 3)):
        site = draft.add("cat", site, draft.activation(draft.norm(draft.conv(site, draft.integer(1, 4)))), dim=0)
    return draft.activation(draft.norm(site))


def _separable(draft: _Draft, site: str) -> str:
    channels = draft.channels(site)
    multiplier = draft.choice((1, 1, 2))
    site = draft.activation(draft.norm(draft.conv(site, multiplier * channels, groups=channels)))
    return draft.norm(draft.conv(site, draft.integer(2, 8), 1))


def _grouped(draft: _Draft, site: str) -> str:
    """Grouped convolutions with a shuffle between them, and a split as ShuffleNetV2 has it."""
    site = draft.activation(draft.conv(site, 8, 1))
    site = draft.activation(draft.norm(draft.conv(site, draft.choice((4, 8)), groups=2)))
    site = draft.add("channel_shuffle", site, groups=2)
    channels = draft.channels(site)
    half = channels // 2
    kept = draft.add("slice", site, dim=0, start=0, end=half)
    worked = draft.activation(draft.conv(draft.add("slice", site, dim=0, start=half, end=channels), half))
    return draft.add("channel_shuffle", draft.add("cat", kept, worked, dim=0), groups=2)


def _squeeze(draft: _Draft, site: str) -> str:
    """Squeeze-and-excitation."""
    site = draft.activation(draft.conv(site, draft.integer(2, 8)))
    mean = draft.add("adaptive_avg_pool2d", site, output_size=(1, 1))
    inner = draft.activation(draft.conv(mean, draft.integer(1, 4), 1))
    gate = draft.add(draft.choice(("sigmoid", "hardsigmoid")), draft.conv(inner, draft.channels(site), 1))
    return draft.add("mul", *((site, gate) if draft.integer(0, 1) else (gate, site)))


def _attention(draft: _Draft, site: str) -> str:
    """A transformer's block on the map's pixels, and back to a map."""
    height, width = draft.shape(site)[1:]
    wide, heads = 2 * draft.integer(2, 4), 2
    site = draft.conv(site, wide, 1)
    rows = draft.add("permute", draft.add("reshape", site, shape=(wide, height * width)), dims=(1, 0))

    def normed(stream: str) -> str:
        shapes = {"weight": (wide,), "bias": (wide,)}
        return draft.add("layer_norm", stream, shapes=shapes, normalized_shape=(wide,))

    def linear(rows: str, features: int) -> str:
        shapes = {"weight": (features, draft.shape(rows)[-1]), "bias": (features,)}
        return draft.add("linear", rows, shapes=shapes)

    read = normed(rows)
    parts = []
    for _ in range(3):
        split = draft.add("reshape", linear(read, wide), shape=(height * width, heads, wide // heads))
        parts.append(draft.add("permute", split, dims=(1, 0, 2)))
    mixed = draft.add("permute", draft.add("scaled_dot_product_attention", *parts), dims=(1, 0, 2))
    mixed = draft.add("reshape", mixed, shape=(height * width, wide))
    rows = draft.add("add", rows, linear(mixed, wide))
    inner = draft.add(draft.choice(("gelu", "relu")), linear(normed(rows), draft.integer(2, 9)))
    rows = draft.add("add", rows, linear(inner, wide))
    return draft.add("reshape", draft.add("permute", rows, dims=(1, 0)), shape=(wide, height, width))


BLOCKS: Mapping[str, Callable[[_Draft, str], str]] = {
    "plain": _plain,
    "residual": _residual,
    "pre_activation": _pre_activation,
    "dense": _dense,
    "separable": _separable,
    "grouped": _grouped,
    "squeeze": _squeeze,
    "attention": _attention,
}
"""What random graphs are made of."""


def random_graph(
    generator: torch.Generator, *, blocks: Sequence[str] = tuple(BLOCKS), num_blocks: int | None = None
) -> Graph:
    """Draw a graph that classifies small images.

    Args:
        generator: Source of all randomness.
        blocks: Names of :data:`BLOCKS` to draw from.
        num_blocks: How many; drawn from 1 to 4 where ``None``.

    Returns:
        The graph: a convolution, the blocks, then a pooling or a flattening, and linear layers.

    Raises:
        ZoovetError: A block is unknown.
    """
    for name in blocks:
        if name not in BLOCKS:
            raise ZoovetError(f"the block {name!r} is unknown; known are {', '.join(BLOCKS)}")
    side = int(torch.randint(5, 8, (), generator=generator))
    draft = _Draft((int(torch.randint(1, 4, (), generator=generator)), side, side), generator)
    site = draft.activation(draft.norm(draft.conv(INPUT, draft.integer(2, 8), stride=draft.choice((1, 2)))))
    for _ in range(num_blocks or draft.integer(1, 4)):
        site = BLOCKS[draft.choice(blocks)](draft, site)
    if draft.integer(0, 1):
        site = draft.add("mean", site, dim=(1, 2))
    else:
        site = draft.add("flatten", draft.add("adaptive_avg_pool2d", site, output_size=(2, 2)))
        if draft.integer(0, 1):
            site = draft.norm(site, "batch_norm")
    for width in (*(draft.integer(1, 9) for _ in range(draft.integer(0, 2))), draft.integer(2, 6)):
        shapes = {"weight": (width, draft.shape(site)[0]), "bias": (width,)}
        last = draft.add("linear", site, shapes=shapes)
        site = draft.activation(last)
    return draft.builder.graph(last)
