"""Reading nodes that bring maps to another size: which of torch's interpolations computes the same."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch.nn import functional

from zoovet.readers.exported.values import Constant, Unreadable, Variable
from zoovet.readers.onnx.calls import NodeCall, NodeReader

__all__ = ["RESIZING_NODES"]

_PLACES: Mapping[str, Callable[[int, float, int, int], float]] = MappingProxyType(
    {
        "half_pixel": lambda place, scale, before, after: (place + 0.5) / scale - 0.5,
        "pytorch_half_pixel": lambda place, scale, before, after: (place + 0.5) / scale - 0.5 if after > 1 else 0.0,
        "half_pixel_symmetric": lambda place, scale, before, after: (
            (place + 0.5) / scale - 0.5 + before / 2 * (1 - after / (before * scale))
        ),
        "align_corners": lambda place, scale, before, after: place * (before - 1) / (after - 1) if after > 1 else 0.0,
        "tf_half_pixel_for_nn": lambda place, scale, before, after: (place + 0.5) / scale,
        "asymmetric": lambda place, scale, before, after: place / scale,
    }
)
"""Where in a map of ``before`` places one of ``after`` places lies (ONNX, *Resize*, coordinate_transformation_mode)."""
_ROUNDED: Mapping[str, Callable[[float], int]] = MappingProxyType(
    {
        "round_prefer_floor": lambda place: math.ceil(place - 0.5),
        "round_prefer_ceil": lambda place: math.floor(place + 0.5),
        "floor": math.floor,
        "ceil": math.ceil,
    }
)
_MODES = MappingProxyType({"linear": "bilinear", "cubic": "bicubic"})
_LARGEST = 2**14
_CUBIC = -0.75
_CLOSE = 1e-6


def _resize(call: NodeCall) -> Variable:
    value = call.variable()
    if call.opset < 11:
        places, rounded, scales_at, sizes = "asymmetric", "floor", 1, None
    else:
        places = call.attribute("coordinate_transformation_mode", "half_pixel")
        rounded, scales_at = call.attribute("nearest_mode", "round_prefer_floor"), 2
        sizes = call.integers(3) or None  # an empty list stands for none
        _require_plain(call)
    scales = None if sizes is not None else _numbers(call.constant(scales_at))
    return _interpolated(call, value, scales, sizes, places, rounded)


def _upsample(call: NodeCall) -> Variable:
    scales = _numbers(call.constant(1)) if call.opset >= 9 else call.attribute("scales", None, tuple)
    return _interpolated(call, call.variable(), scales, None, "asymmetric", "floor")


def _require_plain(call: NodeCall) -> None:
    """Raise where a setting is another than what torch's interpolations know."""
    for name in ("extrapolation_value", "cubic_coeff_a"):  # some exporters write all, whatever the mode
        call.attribute(name)
    if call.attribute("antialias", 0) or call.attribute("exclude_outside", 0):
        raise Unreadable("smooths before it resizes, or leaves out what lies outside")
    if call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unreadable("keeps the ratio of height and width")
    if call.ints("axes") is not None:
        raise Unreadable("names the axes that it resizes")


def _numbers(constant: Constant | None) -> tuple[float, ...] | None:
    return None if constant is None else tuple(float(number) for number in constant.tensor.flatten().tolist()) or None


def _interpolated(
    call: NodeCall,
    value: Variable,
    scales: tuple[float, ...] | None,
    sizes: tuple[int, ...] | None,
    places: str,
    rounded: str,
) -> Variable:
    if len(value.shape) != 4 or not value.is_plain:
        raise Unreadable("resizes other axes than height and width")
    before, given = value.shape[2:], sizes if sizes is not None else scales
    if given is None or len(given) != 4:
        raise Unreadable("says neither four factors nor four sizes")
    if sizes is not None:
        after, kept = sizes[2:], call.shape_in_file(value)[:2] == sizes[:2]
        factors = tuple(one / size for one, size in zip(after, before, strict=True))
    else:
        factors, kept = given[2:], given[:2] == (1, 1)
        after = tuple(math.floor(size * factor + _CLOSE) for size, factor in zip(before, factors, strict=True))
    if not kept or min(after) < 1:
        raise Unreadable("resizes images or channels, or to nothing")
    if max(*before, *after) > _LARGEST:
        raise Unreadable(f"resizes to or from more than {_LARGEST} rows or columns")
    if after == before and all(factor == 1 for factor in factors):
        return call.variable()
    mode, corners = _torch_mode(call, before, tuple(after), factors, places, rounded)
    site = call.writer.add("interpolate", value.site, size=tuple(after), mode=mode, align_corners=corners)
    return call.made(value, site)


def _torch_mode(
    call: NodeCall,
    before: tuple[int, ...],
    after: tuple[int, ...],
    factors: tuple[float, ...],
    places: str,
    rounded: str,
) -> tuple[str, bool]:
    """Torch's mode, and whether corners are aligned.

    Raises:
        Unreadable: None computes the same.
    """
    kind = call.attribute("mode", "nearest")
    if places not in _PLACES or rounded not in _ROUNDED or kind not in ("nearest", *_MODES):
        raise Unreadable(f"resizes by the mode {kind!r} with places {places!r}, which is not known")
    sizes = tuple(zip(before, after, strict=True))
    seen = [  # by down and right
        [_PLACES[places](place, factor, one, other) for place in range(other)]
        for (one, other), factor in zip(sizes, factors, strict=True)
    ]
    if kind == "nearest":
        near = [
            [min(max(_ROUNDED[rounded](place), 0), size - 1) for place in line]
            for line, size in zip(seen, before, strict=True)
        ]
        for mode in ("nearest", "nearest-exact"):
            if near == [_nearest(one, other, mode) for one, other in sizes]:
                return mode, False
        raise Unreadable("takes other neighbours than torch's interpolations do")
    if kind == "cubic" and abs(call.attribute("cubic_coeff_a", _CUBIC) - _CUBIC) > _CLOSE:
        raise Unreadable("has another coefficient than -0.75")
    for corners, name in ((False, "half_pixel"), (True, "align_corners")):
        own = [_PLACES[name](place, other / one, one, other) for one, other in sizes for place in range(other)]
        if all(abs(place - other) < _CLOSE for place, other in zip(own, itertools.chain(*seen), strict=True)):
            return _MODES[kind], corners
    raise Unreadable(f"resizes with places {places!r}, as torch's interpolations do not")


def _nearest(before: int, after: int, mode: str) -> list[int]:
    """Which place each of ``after`` takes in torch."""
    numbers = torch.arange(before, dtype=torch.float64).reshape(1, 1, before)
    return [int(one) for one in functional.interpolate(numbers, after, mode=mode).flatten().tolist()]


RESIZING_NODES: Mapping[str, NodeReader] = MappingProxyType({"Resize": _resize, "Upsample": _upsample})
"""ONNX's name → what reads it where it depends on the images."""
