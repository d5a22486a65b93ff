"""Reading calls that bring maps to another size."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from zoovet.readers.exported.calls import Call, Reader
from zoovet.readers.exported.values import Unreadable, Variable

__all__ = ["RESIZING_READERS"]


def _upsampling(mode: str) -> Reader:
    def read(call: Call) -> Variable:
        value, size = call.plain("input" if "input" in call.arguments else "self"), call.shape[2:]
        if len(value.shape) != 4:
            raise Unreadable("resizes other axes than height and width")
        _require_exact(value, size, call)
        corners = bool(call.arguments.get("align_corners", False))
        site = call.writer.add("interpolate", value.site, size=size, mode=mode, align_corners=corners)
        return value.like(site, (*value.shape[:2], *size))

    return read


def _require_exact(value: Variable, size: tuple[int, ...], call: Call) -> None:
    """Raise where a factor is given that is not the sizes' own: torch then looks at other places of the map."""
    names = ("scale_factors", "scales", "scales_h", "scales_w")
    given = [call.arguments.get(name) for name in names]
    factors = given[0] or given[1] or [one for one in given[2:] if one is not None]
    for factor, before, after in zip(factors, value.shape[2:], size, strict=False):
        if abs(factor * before - after) > 1e-6 * after:
            raise Unreadable(f"resizes {before} by {factor:g} to {after}, which is rounded")


RESIZING_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "upsample_nearest2d": _upsampling("nearest"),
        "_upsample_nearest_exact2d": _upsampling("nearest-exact"),
        "upsample_bilinear2d": _upsampling("bilinear"),
        "upsample_bicubic2d": _upsampling("bicubic"),
    }
)
"""ATen's name → what reads it."""
