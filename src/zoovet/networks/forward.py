"""Run B networks on images at once: the one engine that runs small networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.layers import apply_layer
from zoovet.networks.rescaled import images_as_read
from zoovet.networks.spec import NetworkSpec

__all__ = ["forward", "forward_features", "forward_hidden", "forward_means"]

_TILE_BYTES = 2 * 2**20
_TILE_IMAGES = 1024
_CUDA_TILE_BYTES = 256 * 2**20


def forward(networks: Networks, images: Tensor, *, chunk_size: int | None = None) -> Tensor:
    """Logits of B networks on N images.

    Differentiable to the weights and to the images. Some networks on some images are run at a time, so that the
    maps between their layers stay in the cache, or on a GPU so many that they fill it: without gradients, memory does
    not grow with B and N but for the logits.

    Args:
        networks: B networks of one spec, float32 or float64, on any device.
        images: [N, *input_shape] for all networks, or [B, N, *input_shape], each network its own; dtype and
            device of the networks.
        chunk_size: Images at a time; chosen by the size of the maps where left out.

    Returns:
        [B, N, num_outputs]; [B, N, num_outputs, height, width] where the last layer leaves a map.

    Raises:
        ZoovetError: Images do not fit the networks (the message names both shapes, dtypes or devices), there are no
            networks, or ``chunk_size`` is below 1.
    """
    return _in_tiles(networks, images, lambda layers: layers[-1:], chunk_size)[0]


def forward_features(networks: Networks, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of B networks on N images, and what their last layer reads.

    Args:
        networks: As in :func:`forward`; at least two layers.
        images: As in :func:`forward`.

    Returns:
        The logits, and the last hidden layer's values after activation and pooling, a map's laid out channel by
        channel: [B, N, features].

    Raises:
        ZoovetError: As in :func:`forward`, or the networks have one layer.
    """
    if len(networks.spec.layers) < 2:
        raise ZoovetError(f"networks of one layer have no hidden one, got {networks.spec.describe()}")
    features, logits = _in_tiles(networks, images, lambda layers: layers[-2:])
    return logits, features.flatten(2)


def forward_means(networks: Networks, images: Tensor) -> Tensor:
    """What every hidden and output channel holds on N images, its mean over its map where it has one.

    Args:
        networks: As in :func:`forward`.
        images: As in :func:`forward`.

    Returns:
        [B, N, hidden and output channels], layer by layer, after activation and pooling.

    Raises:
        ZoovetError: As in :func:`forward`.
    """
    return torch.cat(_in_tiles(networks, images, lambda layers: list(map(_mean_over_map, layers))), dim=2)


def forward_hidden(networks: Networks, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits of B networks on N images, and what every hidden group holds.

    Args:
        networks: As in :func:`forward`.
        images: As in :func:`forward`.

    Returns:
        The logits, and for each hidden layer its values after activation and pooling: [B, N, channels], or
        [B, N, channels, height, width] where they are a map.

    Raises:
        ZoovetError: As in :func:`forward`.
    """
    *hidden, logits = _run(networks, images, _check_images(networks, images))
    return logits, hidden


def _check_images(networks: Networks, images: Tensor) -> bool:
    """Whether all networks share the images."""
    shape = networks.spec.input_shape
    num_networks = len(networks)
    if num_networks == 0:
        raise ZoovetError("there are no networks to run: the batch of networks is empty")
    shared = images.ndim == len(shape) + 1
    own = images.ndim == len(shape) + 2 and images.shape[0] == num_networks
    if not (shared or own) or tuple(images.shape[-len(shape) :]) != shape:
        wanted = ", ".join(map(str, shape))
        raise ZoovetError(
            f"images must have the shape [N, {wanted}], or [{num_networks}, N, {wanted}] where each network has "
            f"its own, got {list(images.shape)}"
        )
    if images.dtype != networks.dtype:
        raise ZoovetError(
            f"images are {images.dtype} and the networks {networks.dtype}; convert one of them with .to(dtype=…)"
        )
    if images.device != networks.device:
        raise ZoovetError(
            f"images are on {images.device} and the networks on {networks.device}; move one of them with .to(device)"
        )
    return shared


def _in_tiles(
    networks: Networks, images: Tensor, read: Callable[[list[Tensor]], list[Tensor]], chunk_size: int | None = None
) -> list[Tensor]:
    """What is read of all layers' values, each [B, N, …]; some networks run on some images at a time."""
    shared = _check_images(networks, images)
    axis = 0 if shared else 1
    num_networks, num_images = _tile(networks.spec, images.shape[axis], images)
    if chunk_size is not None:
        if chunk_size < 1:
            raise ZoovetError(f"chunk_size must be at least 1, got {chunk_size}")
        num_images = chunk_size
    if num_networks >= len(networks) and num_images >= images.shape[axis]:
        return read(_run(networks, images, shared))
    parts = [torch.split(tensor, num_networks) for tensor in (*networks.weights, *networks.biases)]
    depth = len(networks.weights)
    rows = []
    for index, tensors in enumerate(zip(*parts, strict=True)):
        some = Networks(networks.spec, tensors[:depth], tensors[depth:])
        theirs = images if shared else torch.split(images, num_networks)[index]
        chunks = [read(_run(some, chunk, shared)) for chunk in torch.split(theirs, num_images, dim=axis)]
        rows.append([torch.cat(values, dim=1) for values in zip(*chunks, strict=True)])
    return [torch.cat(values) for values in zip(*rows, strict=True)]


def _mean_over_map(values: Tensor) -> Tensor:
    """[B, N, channels, …] to [B, N, channels]."""
    return values if values.ndim == 3 else values.flatten(3).mean(dim=3)


def _tile(spec: NetworkSpec, num_images: int, like: Tensor) -> tuple[int, int]:
    """How many networks and images to run at a time, so that the largest layer's output stays in the cache.

    A GPU is to be filled instead. ``like`` says which, by its dtype and device.
    """
    numbers = max(
        layer.out_channels * math.prod(size or (1, 1))
        for layer, size in zip(spec.layers, spec.unpooled_sizes, strict=True)
    )
    num_bytes, most_images = (_CUDA_TILE_BYTES, num_images) if like.is_cuda else (_TILE_BYTES, _TILE_IMAGES)
    num_pairs = max(1, num_bytes // (numbers * like.element_size()))
    images = max(1, min(num_images, num_pairs, most_images))
    return num_pairs // images, images


def _run(networks: Networks, images: Tensor, shared: bool) -> list[Tensor]:
    """Every layer's values as [B, N, channels] or [B, N, channels, height, width], the logits last."""
    images = images_as_read(networks.spec, images)
    spec, num_networks = networks.spec, len(networks)
    is_map = len(spec.input_shape) == 3
    values = images.transpose(0, 1).flatten(1, 2) if is_map and not shared else images
    outputs = []
    for index, layer in enumerate(spec.layers):
        weight, bias = networks.weights[index], networks.biases[index]
        values = apply_layer(layer, weight, bias, values, shared=shared and index == 0)
        if values.ndim == 4:
            split = values.view(-1, num_networks, layer.out_channels, *values.shape[2:])
            outputs.append(split.transpose(0, 1))
        else:
            outputs.append(values)
    return outputs
