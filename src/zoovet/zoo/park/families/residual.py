"""Residual blocks, and stages of them: what residual and wide residual networks are made of."""

from __future__ import annotations

from collections.abc import Sequence

from zoovet.networks import INPUT, Graph
from zoovet.zoo.park.families.layers import LayerBuilder

__all__ = ["residual_graph"]


def residual_graph(
    layers: LayerBuilder,
    *,
    stem: int,
    stem_stride: int,
    widths: Sequence[int],
    blocks: int,
    preactivation: bool,
    shortcut: str,
    num_classes: int,
) -> Graph:
    """A stem, stages of residual blocks, the channels' means, a linear layer.

    Args:
        layers: A new one.
        stem: Channels of the first convolution.
        stem_stride: Its stride.
        widths: Channels of each stage; each but the first halves the maps.
        blocks: Blocks a stage.
        preactivation: Whether norms and activations stand before the convolutions (He et al. 2016, *Identity
            Mappings*) instead of behind them.
        shortcut: What goes past a block that changes the size: ``conv``, a strided convolution of 1 × 1, or
            ``pool``, an average pooling before one (where maps have an odd side, the former).
        num_classes: Classes.
    """
    site = (
        layers.conv(INPUT, stem, stride=stem_stride) if preactivation else layers.conv_norm(INPUT, stem, 3, stem_stride)
    )
    if not preactivation:
        site = layers.activation(site)
    for stage, width in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage and not block and layers.may_shrink(site) else 1
            make = _preactivated if preactivation else _postactivated
            site = make(layers, site, width, stride, shortcut)
    if preactivation:
        site = layers.activation(layers.norm(site))
    return layers.classifier(site, num_classes)


def _postactivated(layers: LayerBuilder, site: str, width: int, stride: int, shortcut: str) -> str:
    inner = layers.conv_norm(layers.conv_norm_activation(site, width, 3, stride), width)
    past = site
    if stride > 1 or layers.channels(site) != width:
        past = layers.norm(_past(layers, site, width, stride, shortcut))
    return layers.activation(layers.add("add", inner, past))


def _preactivated(layers: LayerBuilder, site: str, width: int, stride: int, shortcut: str) -> str:
    first = layers.activation(layers.norm(site))
    changes = stride > 1 or layers.channels(site) != width
    past = _past(layers, first, width, stride, shortcut) if changes else site
    inner = layers.norm_activation_conv(layers.conv(first, width, 3, stride), width)
    return layers.add("add", inner, past)


def _past(layers: LayerBuilder, site: str, width: int, stride: int, shortcut: str) -> str:
    if shortcut == "conv" or any(side % 2 for side in layers.site(site).shape[1:]):
        return layers.conv(site, width, 1, stride)
    pooled = layers.pool(site, "average") if stride > 1 else site
    return layers.conv(pooled, width, 1)
