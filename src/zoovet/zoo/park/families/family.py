"""Family and DrawnFamily: what every block of architectures in a park's recipe has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.networks import Graph
from zoovet.zoo.park.families.layers import ACTIVATIONS, NORMS
from zoovet.zoo.recipe_parts import check_at_least, check_choices

__all__ = ["DrawnFamily", "Family", "Settings", "Sizes", "check_sizes", "drawn_size"]

Sizes = tuple[int, int]
"""Least and greatest value, both included."""

Settings = dict[str, Any]
"""An architecture drawn from a block: JSON values by name."""


@dataclass(frozen=True, kw_only=True)
class Family(ABC):
    """A block of architectures.

    Attributes:
        share: How many bases have it, compared with other blocks' shares.
        variants: How many architectures are drawn of it, which bases share; each is compiled once for an image shape.
        accuracy: What the image sets' least clean accuracies are multiplied by, for families that reach less.
    """

    share: float = 1.0
    variants: int = 4
    accuracy: float = 1.0

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise ZoovetError(f"share must be above 0, got {self.share}; leave a family out that is not wanted")
        check_at_least("variants", self.variants, 1)
        if not 0 < self.accuracy <= 1:
            raise ZoovetError(f"accuracy must be above 0 and at most 1, got {self.accuracy}")

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> Settings:
        """Draw an architecture."""

    @abstractmethod
    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """The graph of an architecture on images of a shape.

        Raises:
            ZoovetError: It does not take such images.
        """


@dataclass(frozen=True, kw_only=True)
class DrawnFamily(Family):
    """Architectures of one family, by ranges that are drawn from uniformly.

    Attributes:
        norm: Norms behind (or before) convolutions to choose from: batch, group, none. One that stands twice is
            twice as likely, as with all choices.
        activation: Activations to choose from.
    """

    norm: tuple[str, ...] = ("batch",)
    activation: tuple[str, ...] = ("relu",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices("norm", self.norm, NORMS)
        check_choices("activation", self.activation, ACTIVATIONS)

    def draw(self, generator: np.random.Generator) -> Settings:
        """See :meth:`Family.draw`."""
        settings: Settings = {
            "norm": self.norm[int(generator.integers(len(self.norm)))],
            "activation": self.activation[int(generator.integers(len(self.activation)))],
        }
        return {**settings, **self.draw_sizes(generator)}

    @abstractmethod
    def draw_sizes(self, generator: np.random.Generator) -> Settings:
        """Draw what the family has beside norm and activation."""


def check_sizes(name: str, sizes: Sizes, least: int, most: int) -> None:
    """Raise a :class:`ZoovetError` where a range of sizes is reversed or out of its bounds."""
    if not least <= sizes[0] <= sizes[1] <= most:
        raise ZoovetError(f"{name} must be [least, greatest], within {least} to {most}, got {list(sizes)}")


def drawn_size(sizes: Sizes, generator: np.random.Generator) -> int:
    """A whole number between two bounds."""
    return int(generator.integers(sizes[0], sizes[1] + 1))
