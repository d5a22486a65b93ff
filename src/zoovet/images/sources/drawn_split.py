"""A split of labelled images by a seed, class by class."""

from __future__ import annotations

import numpy as np
import torch

from zoovet.errors import ZoovetError
from zoovet.images.images import Images

__all__ = ["drawn_split"]


def drawn_split(images: Images, test_share: float, seed: int) -> tuple[Images, Images]:
    """Training and test images, each in the order that they had.

    Of every class a share becomes test images: one at least, and one at least stays.

    Args:
        images: With labels.
        test_share: Share of each class, rounded.
        seed: Of the choice.

    Raises:
        ZoovetError: The images have no labels, or a class has fewer than two.
    """
    labels = images.required_labels.numpy()
    generator = np.random.default_rng(seed)
    is_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        if len(places) < 2:
            name = images.label_names[int(label)]
            raise ZoovetError(
                f"{images.name!r} has one image of the class {name!r}; a split into training and test images needs two"
            )
        count = min(max(1, round(test_share * len(places))), len(places) - 1)
        is_test[generator.permutation(places)[:count]] = True
    return images[torch.from_numpy(np.flatnonzero(~is_test))], images[torch.from_numpy(np.flatnonzero(is_test))]
