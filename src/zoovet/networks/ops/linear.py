"""Operations that are linear in their weights: convolutions and matrix products with a parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks.ops.kinds import Attribute, Attributes, OperationKind, Shape, Site, flag, integer
from zoovet.networks.ops.windows import DILATION, PADDING, STRIDE, is_even, pad_map, require_map, slide
from zoovet.networks.values import Values

__all__ = ["LINEAR", "convolve_unfolded"]

_VECTOR_WIDTH = 8


def _require_bias(shapes: Mapping[str, Shape], num_outputs: int) -> None:
    if "bias" in shapes and shapes["bias"] != (num_outputs,):
        raise ZoovetError(
            f"the bias must have the shape [{num_outputs}], one for each output, got {list(shapes['bias'])}"
        )


def _conv_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    channels, _, _ = require_map(sites[0])
    weight, groups = shapes["weight"], attributes["groups"]
    if len(weight) != 4:
        raise ZoovetError(f"the weight must have the shape [out, in, height, width], got {list(weight)}")
    if channels != weight[1] * groups:
        raise ZoovetError(
            f"the weight {list(weight)} in {groups} groups reads {weight[1] * groups} channels, but {channels} come in"
        )
    if weight[0] % groups:
        raise ZoovetError(f"{weight[0]} output channels cannot be dealt to {groups} groups")
    _require_bias(shapes, weight[0])
    return Site((weight[0], *slide(sites[0], weight[2:], attributes)), 0)


def _conv(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    return _convolve(attributes, inputs[0], parameters["weight"], parameters.get("bias"), attributes["groups"])


def _convolve(attributes: Attributes, maps: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    padding = attributes["padding"]
    if is_even(padding):
        sides = padding[:2]
    else:
        maps, sides = pad_map(maps, padding), (0, 0)
    return functional.conv2d(maps, weight, bias, attributes["stride"], sides, attributes["dilation"], groups)


def _many_conv(
    attributes: Attributes, values: Sequence[Values], parameters: Mapping[str, Tensor], num_networks: int
) -> Values:
    """Convolve, by the fastest of four ways that channels, groups and device allow.

    Measured on AVX-512 cores with 64 images and 4 networks, forward and backward: B groups in one call are up to
    twice as fast as a call for each network where channels in and out are multiples of 8, and up to four times
    slower elsewhere, as on images of one or three channels. Shared images need no groups at all. On a GPU hundreds of
    groups in float32 are no case that its convolution kernels are made for; a batched matrix product is.
    """
    weight, bias, groups = parameters["weight"], parameters.get("bias"), attributes["groups"]
    convolve = partial(_convolve, attributes)
    if values[0].layout == "shared" and groups == 1:
        return Values(convolve(values[0].tensor, *_flattened(weight, bias), 1), "folded")
    maps = values[0].folded(num_networks)
    if groups == 1 and _is_best_unfolded(maps):
        return Values(convolve_unfolded(attributes, maps, weight, bias), "folded")
    num_outputs, group_inputs = weight.shape[1:3]
    if group_inputs == 1 or (group_inputs % _VECTOR_WIDTH == 0 and num_outputs // groups % _VECTOR_WIDTH == 0):
        return Values(convolve(maps, *_flattened(weight, bias), num_networks * groups), "folded")
    biases = [None] * num_networks if bias is None else bias
    parts = zip(maps.chunk(num_networks, dim=1), weight, biases, strict=True)
    return Values(torch.cat([convolve(*part, groups) for part in parts], 1), "folded")


def _is_best_unfolded(maps: Tensor) -> bool:
    """Whether several networks' own maps are convolved as a matrix product where they are: on a GPU."""
    return maps.is_cuda


def _flattened(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return weight.flatten(0, 1), None if bias is None else bias.flatten()


def convolve_unfolded(attributes: Attributes, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve each network's own maps by one batched matrix product, what a GPU does with B networks.

    The pixels under the kernel are laid out as [B, in · kernel, N · places], which takes memory for
    ``kernel size / stride²`` times the maps.

    Args:
        attributes: Of the operation; in one group.
        maps: [N, B · in, height, width] on any device.
        weight: [B, out, in, height, width].
        bias: [B, out], or ``None``.

    Returns:
        Maps [N, B · out, height, width], not contiguous: a network's numbers lie together.
    """
    (high, wide), (down, right) = attributes["dilation"], attributes["stride"]
    height, width = weight.shape[3:]
    padded = pad_map(maps.transpose(0, 1), attributes["padding"])
    windows = padded.unfold(2, high * (height - 1) + 1, down).unfold(3, wide * (width - 1) + 1, right)
    if (high, wide) != (1, 1):
        windows = windows[..., ::high, ::wide]
    num_images, *places = windows.shape[1:4]
    columns = windows.permute(0, 4, 5, 1, 2, 3).reshape(len(weight), weight[0, 0].numel(), -1)
    kernels = weight.flatten(2)
    sums = torch.bmm(kernels, columns) if bias is None else torch.baddbmm(bias.unsqueeze(2), kernels, columns)
    return sums.view(-1, num_images, *places).transpose(0, 1)


def _linear_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    shape, weight = sites[0].shape, shapes["weight"]
    if len(weight) != 2:
        raise ZoovetError(f"the weight must have the shape [out, in], got {list(weight)}")
    if not shape or shape[-1] != weight[1]:
        raise ZoovetError(
            f"the weight {list(weight)} reads {weight[1]} features, but what comes in is {list(shape)}, "
            f"{shape[-1] if shape else 'no'} features on its last axis"
        )
    _require_bias(shapes, weight[0])
    return Site((*shape[:-1], weight[0]), len(shape) - 1)


def _linear(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    return functional.linear(inputs[0], parameters["weight"], parameters.get("bias"))


def _many_linear(
    attributes: Attributes, values: Sequence[Values], parameters: Mapping[str, Tensor], num_networks: int
) -> Values:
    weight, bias = parameters["weight"], parameters.get("bias")
    if values[0].layout == "shared":  # one product for all networks
        tensor = values[0].tensor
        products = functional.linear(tensor, *_flattened(weight, bias)).unflatten(-1, (num_networks, -1))
        return Values(products.movedim(-2, 0), "stacked")
    tensor = values[0].stacked(num_networks)
    rows = tensor.flatten(1, -2) if tensor.ndim > 3 else tensor
    columns = weight.transpose(1, 2)
    sums = torch.bmm(rows, columns) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, columns)
    return Values(sums.view(*tensor.shape[:-1], -1) if tensor.ndim > 3 else sums, "stacked")


def _matmul_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    first, second = (site.shape for site in sites)
    if len(first) != len(second) or len(first) < 2 or first[:-2] != second[:-2] or first[-1] != second[-2]:
        raise ZoovetError(
            f"a product needs […, rows, inner] and […, inner, columns], got {list(first)} and {list(second)}"
        )
    axis = len(first) - 1
    return Site((*first[:-1], second[-1]), axis if sites[1].channel_axis == axis else None)


def _attention_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    query, key, value = (site.shape for site in sites[:3])
    fits = len(query) >= 2 and query[:-2] == key[:-2] == value[:-2] and query[-1:] == key[-1:]
    if not fits or key[-2] != value[-2]:
        raise ZoovetError(
            "attention needs queries […, places, width], keys […, others, width] and values […, others, width of "
            f"values], got {list(query)}, {list(key)} and {list(value)}"
        )
    if len(sites) == 4:
        mask, scores = sites[3].shape, (*query[:-1], key[-2])
        if len(mask) != len(scores) or any(one not in (1, other) for one, other in zip(mask, scores, strict=True)):
            raise ZoovetError(f"the mask must broadcast to {list(scores)}, got {list(mask)}")
    last = len(query) - 1
    return Site((*query[:-1], value[-1]), last if sites[2].channel_axis == last else None)


def _attention(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    mask = inputs[3] if len(inputs) == 4 else None
    return functional.scaled_dot_product_attention(
        inputs[0], inputs[1], inputs[2], mask, is_causal=attributes["is_causal"], scale=attributes["scale"]
    )


def _positive(value: Any, what: str) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ZoovetError(f"{what} must be a number above 0, or left out for 1/√width, got {value!r}")
    return float(value)


LINEAR = (
    OperationKind(
        name="conv2d",
        infer=_conv_site,
        plain=_conv,
        many=_many_conv,
        attributes={
            "stride": STRIDE,
            "padding": PADDING,
            "dilation": DILATION,
            "groups": Attribute(partial(integer, minimum=1), 1),
        },
        roles=("weight",),
        optional_roles=("bias",),
        makes_fresh=True,
    ),
    OperationKind(
        name="linear",
        infer=_linear_site,
        plain=_linear,
        many=_many_linear,
        roles=("weight",),
        optional_roles=("bias",),
        makes_fresh=True,
    ),
    OperationKind(
        name="matmul",
        infer=_matmul_site,
        plain=lambda attributes, inputs, parameters: inputs[0] @ inputs[1],
        num_inputs=(2, 2),
        makes_fresh=True,
    ),
    OperationKind(
        name="scaled_dot_product_attention",
        infer=_attention_site,
        plain=_attention,
        attributes={"scale": Attribute(_positive), "is_causal": Attribute(flag, False)},
        num_inputs=(3, 4),
    ),
)
"""The entries of this family."""
