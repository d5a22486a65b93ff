"""What is done to training images anew in each epoch: moved, mirrored, a rectangle erased, mixed with another."""

from __future__ import annotations

import numpy as np

from zoovet.zoo.samples import Floats, Integers

__all__ = ["AUGMENTATIONS", "augmented", "mixed_up"]

AUGMENTATIONS = ("none", "crop", "flip", "crop_flip", "crop_flip_erase")
"""``crop``: moved by up to an eighth of the side, black where nothing is; ``flip``: half of the images mirrored;
``erase``: in half of the images a rectangle of up to two fifths of the side is gray."""

_BLACK, _GRAY = -1.0, 0.0
_MOVE, _ERASED = 8, 0.4


def augmented(images: Floats, augmentation: str, generator: np.random.Generator) -> Floats:
    """Images [N, C, H, W] in [-1, 1] as an epoch shows them; the given ones stay as they are.

    Args:
        images: In [-1, 1].
        augmentation: One of :data:`AUGMENTATIONS`.
        generator: Source of what is drawn.
    """
    parts = augmentation.split("_")
    if "crop" in parts:
        images = _moved(images, generator)
    if "flip" in parts:
        chosen = generator.random(len(images)) < 0.5
        images = np.where(chosen[:, None, None, None], images[..., ::-1], images)
    if "erase" in parts:
        images = _erased(images, generator)
    return images


def mixed_up(
    images: Floats, labels: Integers, strength: float, generator: np.random.Generator
) -> tuple[Floats, Integers, Floats]:
    """Mixup (Zhang et al. 2018), a share drawn for every image; the given ones stay as they are.

    Args:
        images: [N, C, H, W].
        labels: [N].
        strength: Of the Beta distribution (α, α) that shares are drawn from, above 0.
        generator: Source of what is drawn.

    Returns:
        Each image mixed with another one, that one's label, and the share [N] that it has, at most a half.
    """
    others = generator.permutation(len(images))
    shares = generator.beta(strength, strength, size=len(images)).astype(np.float32)
    shares = np.minimum(shares, 1 - shares)
    part = shares[:, None, None, None]
    return (1 - part) * images + part * images[others], labels[others], shares


def _moved(images: Floats, generator: np.random.Generator) -> Floats:
    height, width = images.shape[2:]
    most = max(1, min(height, width) // _MOVE)
    moves = generator.integers(-most, most + 1, size=(len(images), 2))
    result = np.full_like(images, _BLACK)
    for down, right in np.unique(moves, axis=0):
        which = np.flatnonzero((moves == (down, right)).all(axis=1))
        to_rows, from_rows = _overlap(height, int(down))
        to_columns, from_columns = _overlap(width, int(right))
        result[which, :, to_rows, to_columns] = images[which, :, from_rows, from_columns]
    return result


def _overlap(length: int, move: int) -> tuple[slice, slice]:
    """Places that a move goes to, and those that it comes from."""
    return slice(max(0, move), length + min(0, move)), slice(max(0, -move), length - max(0, move))


def _erased(images: Floats, generator: np.random.Generator) -> Floats:
    height, width = images.shape[2:]
    result = images.copy()
    chosen = np.flatnonzero(generator.random(len(images)) < 0.5)
    sides = generator.uniform(0.1, _ERASED, size=(len(chosen), 2)) * (height, width)
    starts = generator.random((len(chosen), 2))
    for image, (high, wide), (row, column) in zip(chosen, np.ceil(sides).astype(int), starts, strict=True):
        top, left = int(row * (height - high + 1)), int(column * (width - wide + 1))
        result[image, :, top : top + high, left : left + wide] = _GRAY
    return result
