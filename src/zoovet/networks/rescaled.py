"""Running networks on images of another scaling than they read: the engine turns the images into theirs."""

from __future__ import annotations

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.scaling import ZOO_SCALING, InputScaling

__all__ = ["images_as_read", "on_kept_images", "rescaled"]


def rescaled(networks: Networks, scaling: InputScaling) -> Networks:
    """The same weights, to be run on images in another scaling.

    Every function that runs networks turns the images into those that they read, so that even what the first layer pads
    with is as they were trained. Of the weights nothing is changed: what is computed of them, or done to them, is done
    to the networks as they are.

    Args:
        networks: B networks; the scaling that they read must be known.
        scaling: That of the images to come.

    Returns:
        Networks whose graph has an ``input_map``; the networks themselves where they read that scaling.

    Raises:
        ZoovetError: Their own scaling is not known, or one of both is for another number of channels.
    """
    own, channels = networks.graph.input_scaling, networks.graph.input_shape[0]
    if own is None:
        raise ZoovetError("the networks do not say which input scaling they read; give it, Networks.with_scaling()")
    if own == scaling:
        return networks
    (own_gains, own_offsets), (gains, offsets) = own.affine(channels), scaling.affine(channels)
    factors = [own_gain / gain for own_gain, gain in zip(own_gains, gains, strict=True)]
    starts = [b - factor * offset for b, factor, offset in zip(own_offsets, factors, offsets, strict=True)]
    graph = networks.graph.reading(scaling, tuple(zip(factors, starts, strict=True)))
    return Networks(graph, networks.parameters)


def on_kept_images(networks: Networks) -> Networks:
    """Networks to be run on images in [-1, 1], as zoovet keeps them; without a scaling they are taken to read these."""
    return networks if networks.graph.input_scaling is None else rescaled(networks, ZOO_SCALING)


def images_as_read(graph: Graph, images: Tensor) -> Tensor:
    """Images as the first layer reads them: [..., C, H, W] or [..., features], changed by the ``input_map``."""
    if not graph.input_map:
        return images
    shape = (-1, *(1 for _ in graph.input_shape[1:]))
    factors, offsets = (images.new_tensor(numbers).view(shape) for numbers in zip(*graph.input_map, strict=True))
    return images * factors + offsets
