"""What shapes the input of a network may have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["other_shape", "require_input_shape", "ways_to_bring_images"]

_MAX_NUMBERS = 2**28
"""Of one image; those of 3 x 9,459 x 9,459 have as many."""


def require_input_shape(shape: Any) -> tuple[int, ...]:
    """The shape as a tuple.

    Raises:
        ZoovetError: It is no shape of an image or of features, or larger than any image.
    """
    sizes = tuple(shape) if isinstance(shape, tuple | list) else ()
    are_sizes = all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in sizes)
    if len(sizes) not in (1, 3) or not are_sizes:
        raise ZoovetError(f"input_shape must be (channels, height, width) or (features,), got {printable(repr(shape))}")
    if math.prod(sizes) > _MAX_NUMBERS:
        raise ZoovetError(f"input_shape {printable(sizes)} has more than {_MAX_NUMBERS:,} numbers, as no image has")
    return sizes


def other_shape(own: Sequence[int | None], given: Sequence[int]) -> ZoovetError:
    """Why images of a shape cannot be given to a network, and what to do.

    Args:
        own: What the network reads; ``None`` where that is open.
        given: Of the images.
    """
    said = f"it reads images of {[size or '?' for size in own]}, not {list(given)}"
    return ZoovetError(f"{said}{ways_to_bring_images(own)}")


def ways_to_bring_images(own: Sequence[int | None]) -> str:
    """How reference images are brought to what a network reads, after a semicolon; empty where that is not said."""
    if len(own) != 3 or None in own:
        return ""
    sizes = ",".join(map(str, own))
    return f"; --input-shape {sizes} brings reference images to that, in Python Images.from_file(PATH, {tuple(own)})"
