"""Glyphs: letters and digits in many fonts, drawn from a seed; a dataset that needs no file and no network.

Fonts are those that matplotlib's package data hold. All that makes a pixel, once the numbers of an image are drawn, is
integer arithmetic, so that a seed gives the same bytes whatever the processor.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from zoovet.errors import ZoovetError, nearest
from zoovet.images.alphabets import ALPHABETS
from zoovet.images.balanced_labels import balanced_labels
from zoovet.images.images import Images

__all__ = ["GLYPH_CLASSES", "GlyphConfig", "draw_glyphs", "glyphs"]

GLYPH_CLASSES = ALPHABETS["latin"].letters
"""What the classes show where no other alphabet is asked for, in their order."""

NUM_IMAGES = {"train": 20_000, "test": 5_000}
"""Images of the dataset as it is known by its name."""

_CAPITAL_HEIGHT = 0.8
"""Height of a capital letter as a share of its cell's and, before an image scales it, of the image's side."""

_MAX_CELL = 256
"""Greatest side of the cells that letters are drawn into before they are turned, in pixels."""

_CHUNK_PIXELS = 1 << 20
"""Pixels, about, that are drawn by one generator."""

_POINT = 14
"""Binary digits after the point of what is no integer."""

_MAX_ANGLE, _MAX_SHEAR, _MAX_SCALE, _MAX_SHIFT = 40.0, 0.4, 0.35, 0.2
"""Bounds at difficulty 1: degrees; columns a row; logarithm of a side's factor; share of the image's side."""

_INK, _GROUND = 230, 20
"""8-bit levels at difficulty 0; black and white are left to what is put on images."""

_MAX_DIMMING, _MAX_BRIGHTENING, _MAX_CLOUDS, _MAX_STRIPES, _MAX_GRAIN = 125, 75, 70, 60, 30
"""Bounds at difficulty 1, in 8-bit levels: how far ink and ground move together, and the ground's textures."""

_COLOR_SPREAD = 0.3
"""Share of dimming and brightening that channels differ by at least, so that easy images have colours too."""

_CLOUD_POINTS, _MAX_PERIODS = 5, 6.0
_POLARITIES = ("light", "dark", "either")

_SAMPLES = (-1, 5)
"""Rows and columns of the samples that make a pixel, in quarters of a pixel from its corner: soft edges."""

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class GlyphConfig:
    """What glyphs look like.

    Attributes:
        num_classes: How many of the alphabet's letters, from the first: 2 to 36 of latin, 50 of mixed.
        size: Side of the square images, in pixels.
        color: Whether images have three channels, ink and ground a colour each, instead of one.
        difficulty: How far letters are turned, sheared, shifted and scaled, how rough the ground is and how little ink
            stands out from it: 0, always the same but for colours, to 1, hard for people.
        alphabet: Which letters: latin (digits and capitals), lowercase, greek, cyrillic or mixed.
        polarity: light letters on dark ground, dark ones on light, or either, drawn for each image.
        clutter: How strongly pieces of another letter show around the letter: 0, not at all, to 1, as strongly.
        seed: Of everything that is drawn.

    Raises:
        ZoovetError: A value out of its range.
    """

    num_classes: int = 10
    size: int = 28
    color: bool = False
    difficulty: float = 0.2
    alphabet: Literal["latin", "lowercase", "greek", "cyrillic", "mixed"] = "latin"
    polarity: Literal["light", "dark", "either"] = "light"
    clutter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.alphabet not in ALPHABETS:
            raise ZoovetError(f"alphabet {self.alphabet!r} of glyphs is unknown{nearest(self.alphabet, ALPHABETS)}")
        if self.polarity not in _POLARITIES:
            raise ZoovetError(f"polarity {self.polarity!r} of glyphs is unknown{nearest(self.polarity, _POLARITIES)}")
        most = len(ALPHABETS[self.alphabet].letters)
        if not 2 <= self.num_classes <= most:
            largest = max(ALPHABETS, key=lambda name: len(ALPHABETS[name].letters))
            raise ZoovetError(
                f"num_classes of glyphs must lie in 2 to {most}, the letters of the alphabet {self.alphabet}, got "
                f"{self.num_classes}; {largest} has {len(ALPHABETS[largest].letters)}"
            )
        if not 0 <= self.clutter <= 1:
            raise ZoovetError(f"clutter of glyphs must lie in 0 to 1, got {self.clutter}")
        if self.size < 8:
            raise ZoovetError(f"size of glyphs must be at least 8 pixels, got {self.size}")
        if not 0 <= self.difficulty <= 1:
            raise ZoovetError(f"difficulty of glyphs must lie in 0 to 1, got {self.difficulty}")
        if self.seed < 0:
            raise ZoovetError(f"seed of glyphs must be at least 0, got {self.seed}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The letters that the classes show."""
        return tuple(ALPHABETS[self.alphabet].letters[: self.num_classes])

    @property
    def num_channels(self) -> int:
        """3 with colour, else 1."""
        return 3 if self.color else 1


@lru_cache(maxsize=4)
def glyphs(split: Literal["train", "test"]) -> Images:
    """The dataset of that name, as :class:`GlyphConfig` has it unless told otherwise; drawn once a process."""
    return draw_glyphs(GlyphConfig(), NUM_IMAGES[split], split=split)


def draw_glyphs(config: GlyphConfig, num_images: int, *, split: Literal["train", "test"] = "train") -> Images:
    """Draw images of letters and digits.

    Images that come first are the same however many are drawn, and each run of ``num_classes`` images from the first
    holds every class once. The two splits are drawn independently of each other.

    Args:
        config: What they look like.
        num_images: How many.
        split: ``train`` or ``test``.

    Raises:
        ZoovetError: No images or an unknown split are asked for, or matplotlib's fonts are not where they should be.
    """
    if num_images < 1:
        raise ZoovetError(f"at least one glyph image must be drawn, got {num_images}")
    if split not in NUM_IMAGES:
        raise ZoovetError(f"split {split!r} of glyphs is unknown{nearest(split, NUM_IMAGES)}")
    masks = _masks(min(_MAX_CELL, 4 * config.size), config.alphabet, config.num_classes)
    images = np.empty((num_images, config.num_channels, config.size, config.size), dtype=np.uint8)
    labels = np.empty(num_images, dtype=np.int64)
    each = config.num_classes * max(1, _CHUNK_PIXELS // config.size**2 // config.num_classes)
    for start in range(0, num_images, each):
        place = [config.seed, list(NUM_IMAGES).index(split), start // each]
        generator = np.random.default_rng(place)
        drawn = balanced_labels(config.num_classes, each, generator)
        ink = _ink(config, masks, drawn, generator)
        looks = np.random.default_rng([*place, 1])  # of its own, so that what else is drawn stays the same
        ink = _cluttered(config, masks, drawn, ink, looks) if config.clutter else ink
        end = min(num_images, start + each)
        images[start:end] = _turned_light(config, _painted(config, ink, generator), looks)[: end - start]
        labels[start:end] = drawn[: end - start]
    return Images(
        pixels=torch.from_numpy(images),
        labels=torch.from_numpy(labels),
        class_names=config.class_names,
        name="glyphs",
    )


def _ink(config: GlyphConfig, masks: Bytes, labels: Integers, generator: np.random.Generator) -> Integers:
    """How much of each pixel a turned, sheared, scaled and shifted letter covers: [n, 1, size, size], 0 to 1020."""
    num, size, (num_fonts, num_classes, cell, _) = len(labels), config.size, masks.shape
    fonts = generator.integers(num_fonts, size=num)
    spread = config.difficulty * generator.uniform(-1, 1, size=(6, num))
    angle, shear = math.radians(_MAX_ANGLE) * spread[0], _MAX_SHEAR * spread[1]
    across, down = (np.exp(_MAX_SCALE * part) * size / cell for part in spread[2:4])
    cosine, sine = np.cos(angle), np.sin(angle)
    # from the image back to the cell: turned back, then sheared and scaled back; both have their origin in the middle
    back = np.stack([(cosine + shear * sine) / across, (sine - shear * cosine) / across, -sine / down, cosine / down])
    back = _fixed(back)[..., None, None]
    moved = np.rint(4 * _MAX_SHIFT * size * spread[4:]).astype(np.int64)[..., None, None]  # in quarters of a pixel
    first = ((fonts * num_classes + labels) * cell * cell)[:, None, None]
    flat, covered = masks.reshape(-1), np.zeros((num, size, size), dtype=np.int64)
    places = 4 * np.arange(size) - 2 * size
    for below, right in itertools.product(_SAMPLES, repeat=2):  # in quarters of a pixel from its corner
        x, y = places[None, :] + right - moved[0], places[:, None] + below - moved[1]
        column = ((back[0] * x + back[1] * y) >> (_POINT + 2)) + cell // 2
        row = ((back[2] * x + back[3] * y) >> (_POINT + 2)) + cell // 2
        covered += flat[first + row.clip(0, cell - 1) * cell + column.clip(0, cell - 1)]
    return covered[:, None]


def _cluttered(
    config: GlyphConfig, masks: Bytes, labels: Integers, ink: Integers, generator: np.random.Generator
) -> Integers:
    """The letters with pieces of another class's letter in the corners: [n, 1, size, size], 0 to 1020."""
    others = (labels + generator.integers(1, config.num_classes, size=len(labels))) % config.num_classes
    half = config.size // 2
    pieces = np.roll(_ink(config, masks, others, generator), (half, half), axis=(2, 3))
    strength = round(256 * config.clutter)
    cluttered: Integers = np.maximum(ink, pieces * strength >> 8)
    return cluttered


def _turned_light(config: GlyphConfig, images: Bytes, generator: np.random.Generator) -> Bytes:
    """The images, of which those with dark letters on light ground are inverted."""
    if config.polarity == "light":
        return images
    is_dark = generator.integers(2, size=(len(images), 1, 1, 1)).astype(bool) | (config.polarity == "dark")
    return np.where(is_dark, 255 - images, images)


def _painted(config: GlyphConfig, ink: Integers, generator: np.random.Generator) -> Bytes:
    """Light letters on dark, textured grounds: [n, C, size, size]."""
    hard, shape = config.difficulty, (len(ink), config.num_channels, 1, 1)
    spread = max(hard, _COLOR_SPREAD) if config.color else hard
    light = _INK - generator.integers(round(_MAX_DIMMING * spread) + 1, size=shape)
    dark = _GROUND + generator.integers(round(_MAX_BRIGHTENING * spread) + 1, size=shape)
    ground = dark + _clouds(config, shape, generator) + _stripes(config, shape, generator)
    grain = round(_MAX_GRAIN * hard)
    grains = generator.integers(-grain, grain + 1, size=(*shape[:2], config.size, config.size))
    return (ground + (light - ground) * ink // 1020 + grains).clip(0, 255).astype(np.uint8)


def _clouds(config: GlyphConfig, shape: tuple[int, ...], generator: np.random.Generator) -> Integers:
    """Smooth noise, linear between a few drawn points a side: [n, C, size, size]."""
    height = round(_MAX_CLOUDS * config.difficulty)
    points = generator.integers(-height, height + 1, size=(*shape[:2], _CLOUD_POINTS, _CLOUD_POINTS))
    place = np.arange(config.size) * (_CLOUD_POINTS - 1) * 256 // (config.size - 1)
    weights = (256 - np.abs(place[:, None] - 256 * np.arange(_CLOUD_POINTS))).clip(0).astype(np.float64)
    between: Integers = (weights @ points @ weights.T).astype(np.int64)  # of small integers: exact
    return between >> 16


def _stripes(config: GlyphConfig, shape: tuple[int, ...], generator: np.random.Generator) -> Integers:
    """Waves of any direction, a few to an image: [n, C, size, size]."""
    height = generator.integers(round(_MAX_STRIPES * config.difficulty) + 1, size=shape)
    angle, periods = generator.uniform(0, math.pi, size=shape), generator.uniform(1, _MAX_PERIODS, size=shape)
    phase = generator.integers(1024, size=shape)
    right, down = (_fixed(1024 * periods * part / config.size) for part in (np.cos(angle), np.sin(angle)))
    place = np.arange(config.size)
    wave = np.rint(256 * np.sin(np.arange(1024) * (math.pi / 512))).astype(np.int64)
    waves: Integers = wave[(phase + ((right * place[None, :] + down * place[:, None]) >> _POINT)) & 1023]
    return (height * waves) >> 8


def _fixed(numbers: NDArray[np.float64]) -> Integers:
    """Numbers as integers, ``_POINT`` binary digits after the point."""
    return np.rint(numbers * (1 << _POINT)).astype(np.int64)


@lru_cache(maxsize=4)
def _masks(cell: int, alphabet: str, num_classes: int) -> Bytes:
    """Every class in every font, each in the middle of a square cell: [fonts, classes, cell, cell], read only."""
    folder = _font_folder()
    own = ALPHABETS[alphabet]
    letters = own.letters[:num_classes]
    masks = np.stack([_of_font(folder / f"{name}.ttf", cell, letters) for name in own.fonts])
    masks.flags.writeable = False
    return masks


def _of_font(path: Path, cell: int, letters: str) -> Bytes:
    """Every letter in a font whose capitals are as high as those of all: [classes, cell, cell].

    A letter too wide for the cell is narrowed until it fits.
    """

    def font(size: int) -> ImageFont.FreeTypeFont:
        try:  # by its content: given a name, Pillow takes a font of that name from elsewhere where there is one
            return ImageFont.truetype(BytesIO(path.read_bytes()), size, layout_engine=ImageFont.Layout.BASIC)
        except OSError as error:
            raise ZoovetError(f"the font {path} cannot be read ({error}); install matplotlib anew") from error

    _, top, _, bottom = font(cell).getbbox("H")
    own, masks = font(round(cell * _CAPITAL_HEIGHT * cell / (bottom - top))), []
    for letter in letters:
        left, top, right, bottom = (round(edge) for edge in own.getbbox(letter))
        drawn = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(drawn).text((-left, -top), letter, fill=255, font=own)
        width, height = min(drawn.width, cell - 2), min(drawn.height, cell - 2)
        if (width, height) != drawn.size:
            drawn = drawn.resize((width, height))
        image = Image.new("L", (cell, cell))
        image.paste(drawn, ((cell - width) // 2, (cell - height) // 2))
        masks.append(np.asarray(image))
    return np.stack(masks)


def _font_folder() -> Path:
    """Where matplotlib's fonts lie; matplotlib itself is not imported.

    Raises:
        ZoovetError: They are not there.
    """
    found = importlib.util.find_spec("matplotlib")
    for place in found.submodule_search_locations or () if found is not None else ():
        if (folder := Path(place) / "mpl-data" / "fonts" / "ttf").is_dir():
            return folder
    raise ZoovetError("glyphs are drawn from matplotlib's fonts, which are not there; install matplotlib from PyPI")
