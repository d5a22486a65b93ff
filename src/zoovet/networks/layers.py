"""One layer of B networks on their values: what :func:`zoovet.networks.forward` is made of.

Values have one of two layouts. *Maps* are [N, B · channels, height, width]: channel c of network b sits at
b · channels + c, so that one convolution in B groups runs B networks and pooling needs no rearranging.
On a GPU the same maps are views of [B · channels, N, height, width], which batched matrix products write and read.
*Vectors* are [B, N, channels]. Before the first layer, values that all networks share have no B at all:
[N, channels, height, width] or [N, channels].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.networks.spec import LayerSpec, PoolSpec
from zoovet.networks.tanh import tanh

__all__ = ["apply_layer", "convolve_unfolded"]

_VECTOR_WIDTH = 8


def apply_layer(layer: LayerSpec, weight: Tensor, bias: Tensor, values: Tensor, *, shared: bool) -> Tensor:
    """Weights, activation and pooling of one layer of B networks.

    Args:
        layer: What the layer is.
        weight: [B, out, in, \\*kernel].
        bias: [B, out].
        values: Maps or vectors (see the top of this file); maps also where a linear layer reads a flattened map.
        shared: Whether all networks share the values, which then have no B.

    Returns:
        Maps, or vectors where the layer is linear or pools its whole map away.
    """
    num_networks = weight.shape[0]
    if layer.activation == "sine":
        assert layer.activation_parameter is not None
        weight, bias = layer.activation_parameter * weight, layer.activation_parameter * bias
    if layer.kind == "linear":
        return _linear(values, weight, bias, layer, shared)
    if not shared and num_networks > 1 and _is_best_unfolded(values):
        maps = convolve_unfolded(values, weight, bias, layer)
    else:
        maps = _activate(_convolve(values, weight, bias, layer, shared), layer)
    if layer.pool is None:
        return maps
    if layer.pool.kind == "global":
        return maps.mean(dim=(2, 3)).view(-1, num_networks, layer.out_channels).transpose(0, 1)
    return _pool(maps, layer.pool)


def _linear(values: Tensor, weight: Tensor, bias: Tensor, layer: LayerSpec, shared: bool) -> Tensor:
    """Multiply, add and activate; shared values need one product for all networks."""
    num_networks = weight.shape[0]
    if shared:
        stacked = functional.linear(values.flatten(1), weight.flatten(2).flatten(0, 1), bias.flatten())
        return _activate(stacked, layer).view(-1, num_networks, layer.out_channels).transpose(0, 1)
    if values.ndim == 4:
        num_features = layer.in_channels * layer.kernel_size
        values = values.reshape(-1, num_networks, num_features).transpose(0, 1)
    return _activate(torch.baddbmm(bias.unsqueeze(1), values, weight.flatten(2).transpose(1, 2)), layer)


def _is_best_unfolded(values: Tensor) -> bool:
    """Whether several networks' own maps are convolved as a matrix product where they are: on a GPU."""
    return values.is_cuda


def convolve_unfolded(values: Tensor, weight: Tensor, bias: Tensor, layer: LayerSpec) -> Tensor:
    """Convolve each network's own maps and activate: one batched matrix product, what a GPU does with B networks.

    Hundreds of groups in float32 are no case that its convolution kernels are made for. The pixels under the kernel
    are laid out as [B, in · kernel, N · places], which takes memory for ``kernel size / stride²`` times the maps.

    Args:
        values: Maps [N, B · in, height, width] on any device.
        weight: [B, out, in, \\*kernel].
        bias: [B, out].
        layer: What the layer is.

    Returns:
        Maps [N, B · out, height, width], not contiguous: a network's numbers lie together.
    """
    (top, left), (high, wide), (down, right) = layer.padding, layer.dilation, layer.stride
    height, width = weight.shape[3:]
    padded = functional.pad(values.transpose(0, 1), (left, left, top, top))
    windows = padded.unfold(2, high * (height - 1) + 1, down).unfold(3, wide * (width - 1) + 1, right)
    if layer.dilation != (1, 1):
        windows = windows[..., ::high, ::wide]
    num_images, *places = windows.shape[1:4]
    columns = windows.permute(0, 4, 5, 1, 2, 3).reshape(len(weight), weight[0, 0].numel(), -1)
    sums = torch.baddbmm(bias.unsqueeze(2), weight.flatten(2), columns)
    return _activate(sums, layer).view(-1, num_images, *places).transpose(0, 1)


def _convolve(values: Tensor, weight: Tensor, bias: Tensor, layer: LayerSpec, shared: bool) -> Tensor:
    """Convolve, by the fastest of three ways that the layer allows.

    Measured on AVX-512 cores with 64 images and 4 networks, forward and backward: B groups in one call are up to
    twice as fast as a call for each network where channels in and out are multiples of 8, and up to four times
    slower elsewhere, as on images of one or three channels. Shared images need no groups at all.
    """
    num_networks = weight.shape[0]
    if shared or num_networks == 1:
        groups = 1
    elif layer.in_channels % _VECTOR_WIDTH == 0 and layer.out_channels % _VECTOR_WIDTH == 0:
        groups = num_networks
    else:
        parts = zip(values.chunk(num_networks, dim=1), weight, bias, strict=True)
        return torch.cat([functional.conv2d(*part, layer.stride, layer.padding, layer.dilation) for part in parts], 1)
    return functional.conv2d(
        values, weight.flatten(0, 1), bias.flatten(), layer.stride, layer.padding, layer.dilation, groups
    )


def _activate(values: Tensor, layer: LayerSpec) -> Tensor:
    """Apply the activation; w0 of ``sine`` is in the weights already. ``values`` may be overwritten."""
    match layer.activation:
        case "relu":
            return values.relu_()
        case "leaky_relu":
            assert layer.activation_parameter is not None
            return functional.leaky_relu(values, layer.activation_parameter)
        case "tanh":
            return tanh(values)
        case "sine":
            return values.sin()
        case "sigmoid":
            return values.sigmoid_()
        case "gelu":
            return functional.gelu(values)
        case "silu":
            return functional.silu(values)
    assert layer.activation == "identity", f"activation {layer.activation!r} has no implementation"
    return values


def _pool(maps: Tensor, pool: PoolSpec) -> Tensor:
    if pool.kind == "average":
        return functional.avg_pool2d(maps, pool.kernel, pool.stride, pool.padding)
    return functional.max_pool2d(maps, pool.kernel, pool.stride, pool.padding)
