"""Labels of images that are drawn: every class as often as any other, from the first image on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["balanced_labels"]


def balanced_labels(num_classes: int, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Labels int64 [count] in runs of ``num_classes`` that each hold every class once, in an order of their own.

    Args:
        num_classes: Labels are 0 … num_classes - 1.
        count: A multiple of that.
        generator: Source of the orders.
    """
    of_classes = np.tile(np.arange(num_classes), (count // num_classes, 1))
    return generator.permuted(of_classes, axis=1).flatten()
