"""Poolings and means over a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks.ops.kinds import Attribute, Attributes, OperationKind, Shape, Site, flag, integers
from zoovet.networks.ops.windows import DILATION, is_even, pad_map, require_map, slide, sliding

__all__ = ["POOLING"]


def _pool_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    kernel, padding = attributes["kernel_size"], attributes["padding"]
    if attributes["ceil_mode"] and not is_even(padding):
        raise ZoovetError(
            f"ceil_mode needs opposite sides padded alike, got {list(padding)} (top, left, bottom, right); "
            "add to the padding at the end instead"
        )
    if any(padding[axis] >= kernel[axis % 2] * attributes.get("dilation", (1, 1))[axis % 2] for axis in range(4)):
        raise ZoovetError(f"the padding {list(padding)} must be less than the window {list(kernel)}")
    return sites[0].like((sites[0].shape[0], *slide(sites[0], kernel, attributes)))


def _within_half(attributes: Attributes) -> bool:
    """Whether torch's poolings take the padding: alike on opposite sides, at most half the window."""
    padding, kernel = attributes["padding"], attributes["kernel_size"]
    return is_even(padding) and 2 * padding[0] <= kernel[0] and 2 * padding[1] <= kernel[1]


def _max_pool(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    maps, sides = inputs[0], attributes["padding"][:2]
    if not _within_half(attributes):
        maps, sides = pad_map(maps, attributes["padding"], -torch.inf), (0, 0)
    return functional.max_pool2d(
        maps,
        attributes["kernel_size"],
        attributes["stride"],
        sides,
        attributes["dilation"],
        ceil_mode=attributes["ceil_mode"],
    )


def _avg_pool(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    kernel, stride, counts_padding = attributes["kernel_size"], attributes["stride"], attributes["count_include_pad"]
    if _within_half(attributes):
        sides, ceil_mode = attributes["padding"][:2], attributes["ceil_mode"]
        return functional.avg_pool2d(inputs[0], kernel, stride, sides, ceil_mode, counts_padding)
    means = functional.avg_pool2d(pad_map(inputs[0], attributes["padding"]), kernel, stride)
    if counts_padding:
        return means
    ones = pad_map(inputs[0].new_ones(1, 1, *inputs[0].shape[2:]), attributes["padding"])
    return means / functional.avg_pool2d(ones, kernel, stride)


def _adaptive_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    channels, _, _ = require_map(sites[0])
    return sites[0].like((channels, *attributes["output_size"]))


def _adaptive_average(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    size = attributes["output_size"]
    return inputs[0].mean((2, 3), keepdim=True) if size == (1, 1) else functional.adaptive_avg_pool2d(inputs[0], size)


def _adaptive_max(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    size = attributes["output_size"]
    return inputs[0].amax((2, 3), keepdim=True) if size == (1, 1) else functional.adaptive_max_pool2d(inputs[0], size)


def _reduced_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    site, axes = sites[0], attributes["dim"]
    if not axes or len(set(axes)) < len(axes) or max(axes) >= len(site.shape):
        raise ZoovetError(
            f"its axes must be different ones of {list(site.shape)} (counted from 0, without images), got {list(axes)}"
        )
    kept = attributes["keepdim"]
    shape = [1 if axis in axes else size for axis, size in enumerate(site.shape) if kept or axis not in axes]
    if site.channel_axis is None or site.channel_axis in axes:
        return Site(tuple(shape), None)
    before = 0 if kept else sum(axis < site.channel_axis for axis in axes)
    return Site(tuple(shape), site.channel_axis - before, site.positions)


def _axes(attributes: Attributes) -> list[int]:
    return [axis + 1 for axis in attributes["dim"]]


def _mean(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    return inputs[0].mean(_axes(attributes), keepdim=attributes["keepdim"])


def _sum(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    return inputs[0].sum(_axes(attributes), keepdim=attributes["keepdim"])


def _amax(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    return inputs[0].amax(_axes(attributes), keepdim=attributes["keepdim"])


_OUTPUT_SIZE = Attribute(integers(2, 1), required=True)
_REDUCED = {"dim": Attribute(integers(None, 0), required=True), "keepdim": Attribute(flag, False)}

POOLING = (
    OperationKind(
        name="max_pool2d",
        infer=_pool_site,
        plain=_max_pool,
        attributes={**sliding(), "dilation": DILATION},
        is_per_channel=True,
    ),
    OperationKind(
        name="avg_pool2d",
        infer=_pool_site,
        plain=_avg_pool,
        attributes={**sliding(), "count_include_pad": Attribute(flag, True)},
        is_per_channel=True,
    ),
    OperationKind(
        name="adaptive_avg_pool2d",
        infer=_adaptive_site,
        plain=_adaptive_average,
        attributes={"output_size": _OUTPUT_SIZE},
        is_per_channel=True,
    ),
    OperationKind(
        name="adaptive_max_pool2d",
        infer=_adaptive_site,
        plain=_adaptive_max,
        attributes={"output_size": _OUTPUT_SIZE},
        is_per_channel=True,
    ),
    OperationKind(name="mean", infer=_reduced_site, plain=_mean, attributes=_REDUCED, reduces=True),
    OperationKind(name="sum", infer=_reduced_site, plain=_sum, attributes=_REDUCED, reduces=True),
    OperationKind(name="amax", infer=_reduced_site, plain=_amax, attributes=_REDUCED, reduces=True),
)
"""The entries of this family."""
