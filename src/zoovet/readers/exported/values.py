"""What a value of a traced program is to a graph: constant, or a site with the axis of images somewhere in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from zoovet.errors import ZoovetError

__all__ = ["NUM_IMAGES", "Constant", "Unreadable", "Variable"]

NUM_IMAGES = 1009
"""Images that programs are traced with: a prime, so that a size that holds the axis of images is told by division."""


class Unreadable(ZoovetError):
    """An operation has no counterpart in a graph; the message says which and why."""


@dataclass(frozen=True)
class Constant:
    """A tensor that does not depend on the images.

    Attributes:
        tensor: Its numbers.
        name: Of the module's parameter or buffer where it is one, unchanged.
        is_learned: A parameter, or made of one.
    """

    tensor: Tensor
    name: str = ""
    is_learned: bool = False


@dataclass(frozen=True)
class Variable:
    """A tensor that depends on the images; the graph has it as a site without their axis.

    Attributes:
        site: Its name.
        shape: As traced, with the axis of images.
        axis: The axis that counts images; its size is ``outer`` · images · ``inner``.
        outer, inner: What was merged into that axis, as windows are; the site then has an axis of ``outer`` · ``inner``
            there, and none where both are 1.
    """

    site: str
    shape: tuple[int, ...]
    axis: int
    outer: int = 1
    inner: int = 1

    @property
    def is_merged(self) -> bool:
        """Whether the site has an axis where that of images was."""
        return self.outer * self.inner > 1

    @property
    def site_shape(self) -> tuple[int, ...]:
        """The site's shape."""
        here = (self.outer * self.inner,) if self.is_merged else ()
        return (*self.shape[: self.axis], *here, *self.shape[self.axis + 1 :])

    @property
    def is_plain(self) -> bool:
        """Whether images are counted by the first axis alone."""
        return self.axis == 0 and not self.is_merged

    def site_axis(self, axis: int) -> int:
        """The site's axis for one of the traced tensor's, which may count from the end.

        Raises:
            Unreadable: It is that of images.
        """
        axis += len(self.shape) if axis < 0 else 0
        if axis == self.axis:
            raise Unreadable("works across images")
        return axis if self.is_merged or axis < self.axis else axis - 1

    def reshaped(self, site: str, shape: Sequence[int]) -> Variable:
        """The same numbers in another shape.

        Raises:
            Unreadable: Images no longer lie along one axis.
        """
        before = math.prod(self.shape[: self.axis]) * self.outer
        passed = 1
        for axis, size in enumerate(shape):
            if size % NUM_IMAGES == 0:
                outer, rest = divmod(before, passed)
                inner = size // NUM_IMAGES // outer if outer else 0
                if rest or outer * inner * NUM_IMAGES != size:
                    break
                return Variable(site, tuple(shape), axis, outer, inner)
            passed *= size
        raise Unreadable("mixes images with one another")

    def permuted(self, site: str, order: Sequence[int]) -> Variable:
        """Axes in another order."""
        shape = tuple(self.shape[axis] for axis in order)
        return Variable(site, shape, list(order).index(self.axis), self.outer, self.inner)

    def like(self, site: str, shape: Sequence[int]) -> Variable:
        """A tensor of another shape with images at the same place."""
        return Variable(site, tuple(shape), self.axis, self.outer, self.inner)
