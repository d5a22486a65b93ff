"""Windows that slide over a map: how large what they make is, and padding that differs from side to side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks.ops.kinds import Attribute, Site, flag, integers

__all__ = ["DILATION", "KERNEL", "PADDING", "STRIDE", "is_even", "pad_map", "require_map", "slide", "sliding"]

STRIDE = Attribute(integers(2, 1), (1, 1))
"""Steps (down, right)."""
DILATION = Attribute(integers(2, 1), (1, 1))
"""Distances of a window's numbers (down, right)."""
PADDING = Attribute(integers(4, 0), (0, 0, 0, 0))
"""Rows and columns added (top, left, bottom, right), the order of ONNX."""
KERNEL = Attribute(integers(2, 1), required=True)
"""A window (height, width)."""


def sliding() -> dict[str, Attribute]:
    """The attributes of pooling by windows."""
    return {
        "kernel_size": KERNEL,
        "stride": STRIDE,
        "padding": PADDING,
        "ceil_mode": Attribute(flag, False),
    }


def require_map(site: Site) -> tuple[int, int, int]:
    """Channels, height and width.

    Raises:
        ZoovetError: The site is no map.
    """
    if len(site.shape) != 3:
        raise ZoovetError(f"it reads a map (channels, height, width), but what comes in is {list(site.shape)}")
    return site.shape[0], site.shape[1], site.shape[2]


def is_even(padding: tuple[int, int, int, int]) -> bool:
    """Whether opposite sides are padded alike."""
    return padding[:2] == padding[2:]


def pad_map(maps: Tensor, padding: tuple[int, int, int, int], value: float = 0.0) -> Tensor:
    """[…, height, width] with rows and columns of one value added on each side."""
    top, left, bottom, right = padding
    return functional.pad(maps, (left, right, top, bottom), value=value)


def slide(site: Site, kernel: tuple[int, ...], attributes: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of what a window makes, as torch counts.

    Raises:
        ZoovetError: The window does not fit the map.
    """
    _, *size = require_map(site)
    dilation, padding = attributes.get("dilation", (1, 1)), attributes["padding"]
    spans = [dilation[axis] * (kernel[axis] - 1) + 1 for axis in (0, 1)]
    result = []
    for axis in (0, 1):
        stride, padded = attributes["stride"][axis], size[axis] + padding[axis] + padding[axis + 2]
        steps = (padded - spans[axis]) // stride
        if attributes.get("ceil_mode"):
            steps = -((spans[axis] - padded) // stride)
            if steps * stride >= size[axis] + padding[axis]:  # a window must not begin in the padding behind the map
                steps -= 1
        if padded < spans[axis] or steps < 0:
            raise ZoovetError(
                f"its {spans[0]}×{spans[1]} window does not fit a map of {size[0]}×{size[1]} with the padding "
                f"{list(padding)} (top, left, bottom, right)"
            )
        result.append(steps + 1)
    return result[0], result[1]
