"""ImageSource: which images a zoo's networks are trained and measured on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from zoovet.errors import ZoovetError
from zoovet.images.datasets import DATASET_NAMES
from zoovet.images.glyphs import GlyphConfig
from zoovet.images.shapes import ShapeConfig

__all__ = ["ImageSource"]

_MAX_SIDE = 4096


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """Images, and what is made of them.

    Attributes:
        source: A folder of class folders, in ``train`` and ``test`` or to be split; a folder with Hugging Face's
            Parquet shards, IDX files, CIFAR-10's or CIFAR-100's batches or pairs of ``.npy`` files; an ``.npz``; or the
            name of a dataset.
        size: Height and width that images are brought to; null leaves them as they are, all of one size.
        color: gray makes one channel, rgb three; as_is leaves them.
        test_share: Share of each class that becomes test images, where the source has no split of its own.
        seed: Of that split.
        glyphs: What drawn images look like, where ``source`` is glyphs.
        shapes: The same, where ``source`` is shapes.
    """

    source: str
    size: tuple[int, int] | None = None
    color: Literal["as_is", "gray", "rgb"] = "as_is"
    test_share: float = 0.2
    seed: int = 0
    glyphs: GlyphConfig = field(default_factory=GlyphConfig)
    shapes: ShapeConfig = field(default_factory=ShapeConfig)

    def __post_init__(self) -> None:
        if not self.source:
            raise ZoovetError("source of images must be a path or the name of a dataset, got nothing")
        if self.size is not None and not all(1 <= side <= _MAX_SIDE for side in self.size):
            raise ZoovetError(f"size of images must be a height and a width of 1 to {_MAX_SIDE}, got {list(self.size)}")
        if not 0 < self.test_share < 1:
            raise ZoovetError(f"test_share of images must lie between 0 and 1, got {self.test_share}")
        if self.seed < 0:
            raise ZoovetError(f"seed of images must be at least 0, got {self.seed}")
        for name, usual in (("glyphs", GlyphConfig()), ("shapes", ShapeConfig())):
            if getattr(self, name) != usual and self.source != name:
                raise ZoovetError(
                    f"{name} says what drawn {name} look like, but source is {self.source!r}; leave it out"
                )

    @property
    def is_named(self) -> bool:
        """Whether it is the name of a dataset; a folder of the same name is given as ``./NAME``."""
        return self.source in DATASET_NAMES

    @property
    def name(self) -> str:
        """What the images are called: the dataset's name, or that of the folder or file."""
        return self.source if self.is_named else Path(self.source).resolve().name or self.source
