"""Run B networks on images at once: the one engine that runs small networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.spec import LayerSpec, NetworkSpec, PoolSpec

__all__ = ["forward", "forward_hidden"]

_CHUNK_BYTES = 64 * 2**20


def forward(networks: Networks, images: Tensor, *, chunk_size: int | None = None) -> Tensor:
    """Logits of B networks on N images.

    Differentiable to the weights and to the images.

    Args:
        networks: B networks of one spec, float32 or float64, on any device.
        images: [N, *input_shape] for all networks, or [B, N, *input_shape], each network its own; dtype and
            device of the networks.
        chunk_size: Images run at a time. By default all of them where a gradient is needed (the graph keeps
            everything anyway), else as many as keep the intermediate maps within 64 MiB.

    Returns:
        [B, N, num_outputs]; [B, N, num_outputs, height, width] where the last layer leaves a map.

    Raises:
        ZoovetError: Images do not fit the networks; the message names both shapes, dtypes or devices.
    """
    shared = _check_images(networks, images)
    axis = 0 if shared else 1
    num_images = images.shape[axis]
    size = _chunk_size(networks, images, chunk_size)
    if size >= num_images:
        return _run(networks, images, shared, None)
    return torch.cat([_run(networks, chunk, shared, None) for chunk in torch.split(images, size, dim=axis)], dim=1)


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
    shared = _check_images(networks, images)
    hidden: list[Tensor] = []
    logits = _run(networks, images, shared, hidden)
    return logits, hidden


def _check_images(networks: Networks, images: Tensor) -> bool:
    """Whether all networks share the images."""
    shape = networks.spec.input_shape
    num_networks = len(networks)
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


def _chunk_size(networks: Networks, images: Tensor, chunk_size: int | None) -> int:
    if chunk_size is not None:
        if chunk_size < 1:
            raise ZoovetError(f"chunk_size must be at least 1, got {chunk_size}")
        return chunk_size
    tensors = (images, *networks.weights, *networks.biases)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return max(1, images.shape[-1 - len(networks.spec.input_shape)])
    bytes_an_image = len(networks) * _largest_layer(networks.spec) * images.element_size()
    return max(1, _CHUNK_BYTES // bytes_an_image)


def _largest_layer(spec: NetworkSpec) -> int:
    """Numbers that the largest layer holds for one image, its unfolded input included."""
    sizes = []
    for layer, before, after in zip(spec.layers, spec.map_sizes, spec.map_sizes[1:], strict=False):
        positions = math.prod(after or (1, 1))
        sizes.append(
            layer.in_channels * (math.prod(before or (1, 1)) + positions * layer.kernel_size)
            + layer.out_channels * positions
        )
    return max(sizes)


def _run(networks: Networks, images: Tensor, shared: bool, hidden: list[Tensor] | None) -> Tensor:
    num_networks = len(networks)
    values = images.unsqueeze(0).expand(num_networks, *images.shape) if shared else images
    for index, layer in enumerate(networks.spec.layers):
        weight, bias = networks.weights[index], networks.biases[index]
        if layer.kind == "linear":
            values = _linear(values.flatten(2), weight.flatten(2), bias)
        else:
            values = _conv(values, weight, bias, layer)
        values = activate(values, layer.activation, layer.activation_parameter)
        if layer.pool is not None:
            values = _pool(values, layer.pool)
        if hidden is not None and index < len(networks.spec.layers) - 1:
            hidden.append(values)
    return values


def _linear(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias.unsqueeze(1), values, weight.transpose(1, 2))


def _conv(values: Tensor, weight: Tensor, bias: Tensor, layer: LayerSpec) -> Tensor:
    num_networks = weight.shape[0]
    grouped = values.transpose(0, 1).flatten(1, 2)
    output = functional.conv2d(
        grouped,
        weight.flatten(0, 1),
        bias.flatten(),
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=num_networks,
    )
    return output.view(-1, num_networks, layer.out_channels, *output.shape[2:]).transpose(0, 1)


def activate(values: Tensor, activation: str, parameter: float | None) -> Tensor:
    """Apply one of :data:`zoovet.networks.spec.ACTIVATIONS` to every number."""
    match activation:
        case "identity":
            return values
        case "relu":
            return values.relu()
        case "leaky_relu":
            assert parameter is not None
            return functional.leaky_relu(values, parameter)
        case "tanh":
            return values.tanh()
        case "sine":
            assert parameter is not None
            return torch.sin(parameter * values)
        case "sigmoid":
            return values.sigmoid()
        case "gelu":
            return functional.gelu(values)
        case "silu":
            return functional.silu(values)
    raise AssertionError(f"activation {activation!r} has no implementation")


def _pool(values: Tensor, pool: PoolSpec) -> Tensor:
    if pool.kind == "global":
        return values.mean(dim=(-2, -1))
    function = functional.avg_pool2d if pool.kind == "average" else functional.max_pool2d
    maps = function(values.flatten(0, 1), pool.kernel, pool.stride, pool.padding)
    return maps.view(*values.shape[:2], *maps.shape[1:])
