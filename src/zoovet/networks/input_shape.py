"""What shapes the input of a network may have."""

from __future__ import annotations

import math
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["require_input_shape"]

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
