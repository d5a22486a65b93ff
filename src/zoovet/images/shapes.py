"""Textured shapes: filled outlines in one texture on a ground in another, drawn from a seed without any file.

What tells the classes apart is the outline; textures, directions, scales and levels are drawn for each image. Once
an image's numbers are drawn all is integer arithmetic, as with glyphs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zoovet.errors import ZoovetError, nearest
from zoovet.images.balanced_labels import balanced_labels
from zoovet.images.images import Images

__all__ = ["NUM_SHAPES", "SHAPE_CLASSES", "ShapeConfig", "draw_shapes"]

NUM_SHAPES = {"train": 20_000, "test": 5_000}
"""Images of the dataset as it is known by its name."""

_STAR = 0.45
"""Radius of a star's inner corners as a share of its outer ones'."""

SHAPE_CLASSES = (
    *("disc", "triangle", "square", "pentagon", "hexagon", "star", "cross", "ring", "half disc", "bar"),
    *("diamond", "arrow"),
)
"""What the classes show, in their order."""

_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "cross": [
        *((-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3)),
        *((0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3)),
    ],
    "bar": [(-1, -0.25), (1, -0.25), (1, 0.25), (-1, 0.25)],
    "diamond": [(0, -1), (0.5, 0), (0, 1), (-0.5, 0)],
    "arrow": [(0, -1), (0.8, 0), (0.3, 0), (0.3, 1), (-0.3, 1), (-0.3, 0), (-0.8, 0)],
}
_MASK_SIDE = 256
_CHUNK_PIXELS = 1 << 20
_POINT = 14
_SAMPLES = (-1, 1)
"""Places of the samples that make a pixel, in quarters of a pixel from its middle."""

_PERIODS = (3.0, 9.0)
"""Least and greatest number of a texture's periods over the image's side."""

_MIN_CONTRAST = 70
"""8-bit levels between the mean of a shape and that of its ground, at least."""

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ShapeConfig:
    """What textured shapes look like.

    Attributes:
        num_classes: How many of :data:`SHAPE_CLASSES`, from the first, 2 to 12.
        size: Side of the square images, in pixels.
        color: Whether images have three channels, with levels of their own, instead of one.
        difficulty: How far shapes are turned, scaled and shifted, and how strong textures are: 0 to 1.
        seed: Of everything that is drawn.

    Raises:
        ZoovetError: A value out of its range.
    """

    num_classes: int = 10
    size: int = 32
    color: bool = True
    difficulty: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.num_classes <= len(SHAPE_CLASSES):
            raise ZoovetError(f"num_classes of shapes must lie in 2 to {len(SHAPE_CLASSES)}, got {self.num_classes}")
        if not 8 <= self.size <= 1024:
            raise ZoovetError(f"size of shapes must lie in 8 to 1024 pixels, got {self.size}")
        if not 0 <= self.difficulty <= 1:
            raise ZoovetError(f"difficulty of shapes must lie in 0 to 1, got {self.difficulty}")
        if self.seed < 0:
            raise ZoovetError(f"seed of shapes must be at least 0, got {self.seed}")


def draw_shapes(config: ShapeConfig, num_images: int, *, split: Literal["train", "test"] = "train") -> Images:
    """Draw images of textured shapes.

    Images that come first are the same however many are drawn, and each run of ``num_classes`` images from the first
    holds every class once. The two splits are drawn independently of each other.

    Args:
        config: What they look like.
        num_images: How many.
        split: ``train`` or ``test``.

    Raises:
        ZoovetError: No images or an unknown split are asked for.
    """
    if num_images < 1:
        raise ZoovetError(f"at least one image of a shape must be drawn, got {num_images}")
    if split not in NUM_SHAPES:
        raise ZoovetError(f"split {split!r} of shapes is unknown{nearest(split, NUM_SHAPES)}")
    each = config.num_classes * max(1, _CHUNK_PIXELS // config.size**2 // config.num_classes)
    pixels, labels = [], []
    for start in range(0, num_images, each):
        generator = np.random.default_rng([config.seed, 77, list(NUM_SHAPES).index(split), start // each])
        drawn = balanced_labels(config.num_classes, each, generator)
        count = min(each, num_images - start)
        pixels.append(_painted(config, drawn, generator)[:count])
        labels.append(drawn[:count])
    return Images(
        pixels=torch.from_numpy(np.concatenate(pixels)),
        labels=torch.from_numpy(np.concatenate(labels)),
        class_names=SHAPE_CLASSES[: config.num_classes],
        name="shapes",
    )


def _painted(config: ShapeConfig, labels: Integers, generator: np.random.Generator) -> Bytes:
    """[n, C, size, size]."""
    covered = _covered(config, labels, generator)
    shape = (len(labels), 3 if config.color else 1, 1, 1)
    ground = generator.integers(30, 226, size=shape)
    room = np.where(ground < 128, 225 - ground, ground - 30)
    apart = _MIN_CONTRAST + (generator.random(shape) * (room - _MIN_CONTRAST)).astype(np.int64)
    inside = np.where(ground < 128, ground + apart, ground - apart)
    below, above = (level + _texture(config, len(labels), generator) for level in (ground, inside))
    most = 255 * len(_SAMPLES) ** 2
    mixed: Bytes = (below + (above - below) * covered // most).clip(0, 255).astype(np.uint8)
    return mixed


def _covered(config: ShapeConfig, labels: Integers, generator: np.random.Generator) -> Integers:
    """How much of each pixel a turned, scaled and shifted shape covers: [n, 1, size, size]."""
    num, size = len(labels), config.size
    spread = config.difficulty * generator.uniform(-1, 1, size=(4, num))
    angle, scale = math.pi / 6 * spread[0], np.exp(0.35 * spread[1]) * size / _MASK_SIDE
    right, down = (np.rint(0.15 * 4 * size * part).astype(np.int64)[:, None, None] for part in spread[2:])
    cosine, sine = (
        np.rint(part / scale * (1 << _POINT)).astype(np.int64)[:, None, None] for part in (np.cos(angle), np.sin(angle))
    )
    place = 4 * np.arange(size) - 2 * size + 2  # the middles of pixels, in quarters of a pixel from the image's
    masks, total = _masks(config.num_classes).reshape(-1), np.zeros((num, size, size), dtype=np.int64)
    first = (labels * _MASK_SIDE * _MASK_SIDE)[:, None, None]
    for row_step in _SAMPLES:
        for column_step in _SAMPLES:
            x, y = place[None, None, :] + column_step - right, place[None, :, None] + row_step - down
            column = ((cosine * x + sine * y) >> (_POINT + 2)) + _MASK_SIDE // 2
            row = ((cosine * y - sine * x) >> (_POINT + 2)) + _MASK_SIDE // 2
            total += masks[first + row.clip(0, _MASK_SIDE - 1) * _MASK_SIDE + column.clip(0, _MASK_SIDE - 1)]
    return total[:, None]


def _texture(config: ShapeConfig, num: int, generator: np.random.Generator) -> Integers:
    """Stripes, checks, dots or grain of any direction and scale, in levels around 0: [n, 1, size, size]."""
    size, shape = config.size, (num, 1, 1, 1)
    height = np.rint(config.difficulty * generator.integers(10, 71, size=shape)).astype(np.int64)
    kind, angle = generator.integers(4, size=shape), generator.uniform(0, math.pi, size=shape)
    step = 1024 * generator.uniform(*_PERIODS, size=shape) / size
    phase = generator.integers(1024, size=(2, *shape))
    along, across = (np.rint(step * part * (1 << _POINT)).astype(np.int64) for part in (np.cos(angle), np.sin(angle)))
    place = np.arange(size)
    u = phase[0] + ((along * place[None, :] + across * place[:, None]) >> _POINT)
    v = phase[1] + ((along * place[:, None] - across * place[None, :]) >> _POINT)
    wave = np.rint(256 * np.sin(np.arange(1024) * (math.pi / 512))).astype(np.int64)
    first, second = wave[u & 1023], wave[v & 1023]
    grain = generator.integers(-256, 257, size=(num, 1, size, size))
    checks = 256 * np.sign(first) * np.sign(second)
    dots = np.where(first + second > 256, 256, -128)
    textures: Integers = height * np.select([kind == 0, kind == 1, kind == 2], [first, checks, dots], grain)
    return textures >> 8


@lru_cache(maxsize=4)
def _masks(num_classes: int) -> Integers:
    """Every class's filled outline in the middle of a square, 0 or 255: [classes, side, side], read only."""
    masks = np.stack([_mask(name) for name in SHAPE_CLASSES[:num_classes]]).astype(np.int64)
    masks.flags.writeable = False
    return masks


def _polygon_of(name: str) -> list[tuple[float, float]]:
    """Corners of the outline of a class that has some, x to the right and y down, in radii from the middle."""
    if name in _OUTLINES:
        return _OUTLINES[name]
    count = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6, "star": 10}[name]
    start = -math.pi / 2 + (math.pi / count if name in ("square", "hexagon") else 0.0)
    angles = [start + 2 * math.pi * step / count for step in range(count)]
    sizes = [_STAR if name == "star" and step % 2 else 1.0 for step in range(count)]
    return [(size * math.cos(angle), size * math.sin(angle)) for size, angle in zip(sizes, angles, strict=True)]


def _mask(name: str) -> Bytes:
    image = Image.new("L", (_MASK_SIDE, _MASK_SIDE))
    draw, middle, radius = ImageDraw.Draw(image), _MASK_SIDE / 2, 0.36 * _MASK_SIDE
    around = (middle - radius, middle - radius, middle + radius, middle + radius)
    if name == "disc":
        draw.ellipse(around, fill=255)
    elif name == "ring":
        draw.ellipse(around, outline=255, width=round(0.4 * radius))
    elif name == "half disc":
        draw.pieslice(around, 180, 360, fill=255)
    else:
        corners = [(round(middle + radius * x), round(middle + radius * y)) for x, y in _polygon_of(name)]
        draw.polygon(corners, fill=255)
    return np.asarray(image)
