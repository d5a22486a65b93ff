"""Keras' layers that move numbers without changing them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from zoovet.readers.exported.values import Unreadable
from zoovet.readers.keras.calls import LayerCall, LayerReader, Map, pair

__all__ = ["LAYOUT"]


def _flatten(call: LayerCall) -> Map:
    value, shape = call.input, call.shape
    if len(shape) == 1:
        return value
    if len(shape) == 3 and (call.layout.channels_last or call.config.get("data_format") == "channels_first"):
        return Map(call.add("flatten"), (shape[0], shape[1], shape[2]))
    if len(shape) != 3 and call.config.get("data_format") == "channels_first":
        raise Unreadable("turns what is no map channels last")
    return Map(call.add("flatten"))


def _in_keras_order(call: LayerCall) -> str:
    """The input with its axes as Keras has them."""
    if len(call.shape) == 3 and call.layout.channels_last:
        return call.add("permute", dims=(1, 2, 0))
    return call.plain(call.input)


def _from_keras_order(call: LayerCall, site: str) -> Map:
    is_map = len(call.writer.site(site).shape) == 3 and call.layout.channels_last
    return Map(call.add("permute", site, dims=(2, 0, 1)) if is_map else site)


def _reshape(call: LayerCall) -> Map:
    wanted, count = [int(size) for size in call.config["target_shape"]], math.prod(call.shape)
    if wanted.count(-1) == 1:
        known = -math.prod(wanted)
        wanted[wanted.index(-1)] = count // known if known else 0
    if math.prod(wanted) != count or any(size < 1 for size in wanted):
        raise Unreadable(f"turns {count} numbers into {wanted}")
    site = _in_keras_order(call)
    return _from_keras_order(call, call.add("reshape", site, shape=tuple(wanted)))


def _permute(call: LayerCall) -> Map:
    dims = tuple(int(axis) - 1 for axis in call.config["dims"])
    return _from_keras_order(call, call.add("permute", _in_keras_order(call), dims=dims))


def _sides(value: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) of a setting that may be one number, or one for each axis."""
    if isinstance(value, int):
        return (value, value), (value, value)
    first, second = value
    return pair(first), pair(second)


def _zero_padding(call: LayerCall) -> Map:
    call.require_map()
    (top, bottom), (left, right) = _sides(call.config["padding"])
    return Map(call.add("pad", pad=(0, 0, top, bottom, left, right)))


def _cropping(call: LayerCall) -> Map:
    _, height, width = call.require_map()
    (top, bottom), (left, right) = _sides(call.config["cropping"])
    site = call.input.site
    for axis, size, before, behind in ((1, height, top, bottom), (2, width, left, right)):
        site = _part(call, site, axis, (before, size - behind), size)
    return Map(site)


def _part(call: LayerCall, site: str, axis: int, places: Sequence[int], size: int) -> str:
    start, end = places
    return site if (start, end) == (0, size) else call.add("slice", site, dim=axis, start=start, end=end)


LAYOUT: Mapping[str, LayerReader] = MappingProxyType(
    {
        "Cropping2D": _cropping,
        "Flatten": _flatten,
        "Permute": _permute,
        "Reshape": _reshape,
        "ZeroPadding2D": _zero_padding,
    }
)
"""Class of a layer → what writes it."""
