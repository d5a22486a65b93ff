"""What a zoo of SIRENs that show images should hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from zoovet.errors import ZoovetError
from zoovet.images.sources import ImageSource
from zoovet.networks import Graph, siren
from zoovet.zoo.recipe_parts import SplitShares, check_at_least, check_widths, dataset_called

__all__ = ["Augmentation", "InrRecipe"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a copy of an image differs from it: first flipped or not, then shifted.

    Attributes:
        flip: Whether a copy is mirrored left to right with probability ½.
        max_shift: A copy is shifted by -max_shift to max_shift whole pixels along each axis, uniformly; what comes in
            at the borders mirrors the image there.
    """

    flip: bool = True
    max_shift: int = 2

    def __post_init__(self) -> None:
        check_at_least("augmentation.max_shift", self.max_shift, 0)


@dataclass(frozen=True, kw_only=True)
class InrRecipe:
    """A zoo of implicit neural representations: each is a SIREN fitted to one image, by Adam on all of its pixels.

    Attributes:
        kind: What kind of recipe it is.
        dataset: Name of the image dataset; with ``images``, what these are called.
        images: Images of another origin than a dataset's name alone, or of another size, colour or look.
        image_splits: The dataset's splits that images come from, one after the other: an image's index counts through
            them in this order.
        num_images: Images, drawn without replacement; null for all.
        image_size: Height and width that the images must have; null for whatever they have.
        grayscale: Make one channel of three.
        hidden: Units of the hidden layers.
        w0: Factor in the sines.
        steps: Adam's steps; each sees all pixels.
        learning_rate: Of the first step.
        schedule: ``constant``, or ``cosine``: falling to 0 over the steps along half a cosine.
        shared_init: Whether all SIRENs start from the same weights rather than each from its own.
        num_copies: SIRENs of a training image: the first shows the image itself, the others augmented copies. Images
            of the validation and test splits have only the first.
        augmentation: How the copies differ from their image.
        split: Shares of the splits, by image.
        images_per_shard: Images in a shard: what an interrupted build loses at most, a worker.
        seed: Of everything.
    """

    kind: Literal["inr"] = "inr"
    dataset: str = "fashion-mnist"
    images: ImageSource | None = None
    image_splits: tuple[Literal["train", "test"], ...] = ("train",)
    num_images: int | None = None
    image_size: tuple[int, int] | None = None
    grayscale: bool = False
    hidden: tuple[int, ...] = (32, 32)
    w0: float = 30.0
    steps: int = 1000
    learning_rate: float = 5e-4
    schedule: Literal["constant", "cosine"] = "cosine"
    shared_init: bool = False
    num_copies: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    split: SplitShares = field(default_factory=lambda: SplitShares(train=0.75, validation=0.05, test=0.2))
    images_per_shard: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", dataset_called(self.dataset, self.images, default="fashion-mnist"))
        for name in ("steps", "num_copies", "images_per_shard"):
            check_at_least(name, getattr(self, name), 1)
        check_at_least("seed", self.seed, 0)
        if self.num_images is not None:
            check_at_least("num_images", self.num_images, 1)
        if not self.image_splits or len(set(self.image_splits)) != len(self.image_splits):
            raise ZoovetError(f"image_splits must name train, test or both, each once, got {list(self.image_splits)}")
        check_widths("hidden", self.hidden)
        if self.image_size is not None and min(self.image_size) < 1:
            raise ZoovetError(f"image_size must be two positive numbers, got {list(self.image_size)}")
        for name in ("w0", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ZoovetError(f"{name} must be above 0, got {getattr(self, name)}")

    def graph(self, num_channels: int) -> Graph:
        """The SIRENs' graph for images of so many channels."""
        return siren((2, *self.hidden, num_channels), self.w0)
