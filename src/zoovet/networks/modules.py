"""From a chain to the ``torch.nn.Module`` that computes what it does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.layer_spec import LayerSpec, PoolSpec
from zoovet.networks.sine import Sine

__all__ = ["Sine", "to_module"]


def to_module(networks: Networks) -> nn.Sequential:
    """The module that computes what a network does.

    Args:
        networks: One network (B = 1).

    Returns:
        An ``nn.Sequential`` with copies of the weights, dtype and device kept, which :func:`zoovet.from_module` reads.

    Raises:
        ZoovetError: There is not exactly one network, or it has an ``input_map``.
    """
    if len(networks) != 1:
        raise ZoovetError(
            f"to_module makes a module of one network, got {len(networks)}; pick one with networks[index]"
        )
    graph = networks.graph
    if graph.input_map:
        raise ZoovetError(
            "to_module: the network is to be run on images of another scaling than it reads; convert the network itself"
        )
    children: list[nn.Module] = []
    for index, layer in enumerate(graph.chain.layers):
        if layer.kind == "linear" and graph.chain.map_sizes[index] is not None:
            children.append(nn.Flatten())
        children.append(_weighted(layer, networks.weights[index][0], networks.biases[index][0]))
        if layer.activation != "identity":
            children.append(_activation(layer))
        if layer.pool is not None:
            children.extend(_pooling(layer.pool))
    return nn.Sequential(*children)


def _weighted(layer: LayerSpec, weight: Tensor, bias: Tensor) -> nn.Module:
    # Made on the meta device: an ordinary constructor draws initial weights from the global generator.
    module: nn.Linear | nn.Conv2d
    if layer.kind == "linear":
        module = nn.Linear(layer.in_channels * layer.kernel_size, layer.out_channels, device="meta", dtype=weight.dtype)
    else:
        module = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            (layer.kernel[0], layer.kernel[1]),
            layer.stride,
            layer.padding,
            layer.dilation,
            device="meta",
            dtype=weight.dtype,
        )
    module.to_empty(device=weight.device)
    with torch.no_grad():
        module.weight.copy_(weight.reshape(module.weight.shape))
        assert module.bias is not None
        module.bias.copy_(bias)
    return module


def _activation(layer: LayerSpec) -> nn.Module:
    if layer.activation == "leaky_relu":
        assert layer.activation_parameter is not None
        return nn.LeakyReLU(layer.activation_parameter)
    if layer.activation == "sine":
        assert layer.activation_parameter is not None
        return Sine(layer.activation_parameter)
    kinds: dict[str, type[nn.Module]] = {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
    }
    return kinds[layer.activation]()


def _pooling(pool: PoolSpec) -> list[nn.Module]:
    if pool.kind == "global":
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if pool.kind == "average":
        return [nn.AvgPool2d(pool.kernel, pool.stride, pool.padding)]
    return [nn.MaxPool2d(pool.kernel, pool.stride, pool.padding)]
