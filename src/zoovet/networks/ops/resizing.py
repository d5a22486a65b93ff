"""Maps brought to another size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks.ops.kinds import Attribute, Attributes, OperationKind, Shape, Site, choice, flag, integers
from zoovet.networks.ops.windows import require_map

__all__ = ["RESIZING"]


def _resized_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    channels, _, _ = require_map(sites[0])
    if attributes["align_corners"] and attributes["mode"].startswith("nearest"):
        raise ZoovetError(f"align_corners has no meaning with the mode {attributes['mode']!r}")
    return sites[0].like((channels, *attributes["size"]))


def _resized(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    mode = attributes["mode"]
    corners = None if mode.startswith("nearest") else attributes["align_corners"]
    return functional.interpolate(inputs[0], attributes["size"], mode=mode, align_corners=corners)


RESIZING = (
    OperationKind(
        name="interpolate",
        infer=_resized_site,
        plain=_resized,
        attributes={
            "size": Attribute(integers(2, 1), required=True),
            "mode": Attribute(choice("nearest", "nearest-exact", "bilinear", "bicubic"), "nearest"),
            "align_corners": Attribute(flag, False),
        },
        is_per_channel=True,
    ),
)
"""The entries of this family; modes are those of ``torch.nn.functional.interpolate``."""
