"""What torchvision asks of a torch that was built without it."""

from __future__ import annotations

import torch

__all__ = ["operators_of_torchvision"]


def operators_of_torchvision() -> torch.library.Library:
    """Declare two operators of torchvision's own, which no network here uses, as long as the result is kept."""
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
