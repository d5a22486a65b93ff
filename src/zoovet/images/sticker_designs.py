"""Stickers that need no file: a note, a flower, a bomb, a smiley, a stop sign, drawn at any size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError, nearest

__all__ = ["STICKER_DESIGNS", "drawn_sticker"]

STICKER_DESIGNS = ("note", "flower", "bomb", "smiley", "stop")
"""What is drawn: the yellow note, flower and bomb of BadNets (Gu et al. 2017, section 5), a smiley, a stop sign."""

_POINTS = 8
"""Points a pixel has along a side; its colour and its cover are their mean."""

Places = NDArray[np.float64]
Layer = tuple[NDArray[np.bool_], tuple[int, int, int]]
"""Which points a shape covers, and its colour; later layers lie over earlier ones."""

_BLACK, _WHITE, _YELLOW, _RED = (20, 20, 24), (245, 245, 240), (250, 220, 60), (205, 30, 35)


def drawn_sticker(design: str, side: int) -> NDArray[np.uint8]:
    """Red, green, blue and cover (0 none, 255 whole) of a square sticker, [side, side, 4].

    Args:
        design: One of :data:`STICKER_DESIGNS`.
        side: In pixels.

    Raises:
        ZoovetError: An unknown design.
    """
    if design not in _DESIGNS:
        raise ZoovetError(f"sticker design {design!r} is unknown{nearest(design, STICKER_DESIGNS)}")
    places = (2 * np.arange(side * _POINTS) + 1) / (side * _POINTS) - 1
    y, x = np.meshgrid(places, places, indexing="ij")
    points = np.zeros((len(places), len(places), 4))
    for covered, colour in _DESIGNS[design](x, y):
        points[covered] = (*colour, 255)
    points[..., :3] *= points[..., 3:] / 255
    mean = points.reshape(side, _POINTS, side, _POINTS, 4).mean(axis=(1, 3))
    cover = np.maximum(mean[..., 3:] / 255, 1e-9)
    mean[..., :3] /= cover
    return np.asarray(np.rint(mean), dtype=np.uint8)


def _disc(x: Places, y: Places, at: tuple[float, float], radius: float) -> NDArray[np.bool_]:
    return np.asarray((x - at[0]) ** 2 + (y - at[1]) ** 2 <= radius * radius)


def _note(x: Places, y: Places) -> list[Layer]:
    lines = (np.abs((y * 4) % 2 - 1) < 0.18) & (np.abs(x) < 0.65) & (np.abs(y) < 0.7)
    return [(np.maximum(np.abs(x), np.abs(y)) < 0.95, _YELLOW), (lines, (120, 105, 60))]


def _flower(x: Places, y: Places) -> list[Layer]:
    angles = [2 * math.pi * petal / 6 for petal in range(6)]
    petals = [_disc(x, y, (0.58 * math.cos(angle), 0.58 * math.sin(angle)), 0.36) for angle in angles]
    return [*((petal, (225, 60, 140)) for petal in petals), (_disc(x, y, (0, 0), 0.36), _YELLOW)]


def _bomb(x: Places, y: Places) -> list[Layer]:
    fuse = (np.abs(x + y - 0.05) < 0.12) & (x > 0.2) & (x < 0.75)
    return [
        (fuse, (150, 110, 60)),
        (_disc(x, y, (-0.15, 0.2), 0.72), _BLACK),
        (_disc(x, y, (-0.4, -0.05), 0.16), (150, 150, 155)),
        (_disc(x, y, (0.75, -0.72), 0.2), (250, 130, 30)),
    ]


def _smiley(x: Places, y: Places) -> list[Layer]:
    mouth = _disc(x, y, (0, 0), 0.6) & ~_disc(x, y, (0, 0), 0.45) & (y > 0.15)
    eyes = _disc(x, y, (-0.32, -0.28), 0.15) | _disc(x, y, (0.32, -0.28), 0.15)
    return [(_disc(x, y, (0, 0), 0.96), _YELLOW), (mouth | eyes, _BLACK)]


def _stop(x: Places, y: Places) -> list[Layer]:
    def octagon(radius: float) -> NDArray[np.bool_]:
        farthest = np.maximum(np.maximum(np.abs(x), np.abs(y)), (np.abs(x) + np.abs(y)) / math.sqrt(2))
        return np.asarray(farthest < radius)

    bar = (np.abs(y) < 0.16) & (np.abs(x) < 0.62)
    return [(octagon(0.96), _WHITE), (octagon(0.84), _RED), (bar, _WHITE)]


_DESIGNS: dict[str, Callable[[Places, Places], list[Layer]]] = {
    "note": _note,
    "flower": _flower,
    "bomb": _bomb,
    "smiley": _smiley,
    "stop": _stop,
}
