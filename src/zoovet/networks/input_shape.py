"""What shapes the input of a network may have."""

from __future__ import annotations

from zoovet.errors import ZoovetError

__all__ = ["require_input_shape"]


def require_input_shape(shape: tuple[int, ...]) -> None:
    """Raise where this is no shape of an image or of features."""
    if len(shape) not in (1, 3) or any(size < 1 for size in shape):
        raise ZoovetError(f"input_shape must be (channels, height, width) or (features,), got {shape}")
