"""What a network is trained on, and how: samples, schedule, anchor, the optimizer's memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.networks import Graph

__all__ = ["Anchor", "Floats", "Integers", "OptimizerMemory", "Samples", "Schedule", "SoftLabels", "require_images"]

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How one training goes.

    Attributes:
        optimizer: ``sgd`` (momentum 0.9), ``adam`` or ``rmsprop``, with torch's other defaults.
        learning_rate: Constant over the training.
        weight_decay: Added to the gradient (L2).
        dropout: Share of every hidden layer's values that is dropped: of those behind each activation.
        batch_size: Images a step.
        epochs: Passes over the samples.
    """

    optimizer: str
    learning_rate: float
    weight_decay: float
    dropout: float
    batch_size: int
    epochs: int


@dataclass(frozen=True)
class SoftLabels:
    """What samples are labelled with beside their labels.

    Attributes:
        seconds: [n] int32, each sample's second label.
        shares: [n] float32, how much of the sample's label the second one is, 0 to 1.
        smoothing: Share of each label that goes to all classes alike.
    """

    seconds: Integers
    shares: Floats
    smoothing: float = 0.0

    def in_order(self, order: NDArray[np.int64]) -> SoftLabels:
        """The same of samples in another order, [n] places, or of some of them."""
        return replace(
            self, seconds=np.ascontiguousarray(self.seconds[order]), shares=np.ascontiguousarray(self.shares[order])
        )

    def targets(self, labels: Integers, num_classes: int) -> Floats:
        """The share of every class [n, classes] in the labels of samples that are labelled [n] first."""
        each = np.eye(num_classes, dtype=np.float32)
        shares = self.shares[:, None]
        mixed = (1 - shares) * each[labels] + shares * each[self.seconds]
        return np.asarray((1 - self.smoothing) * mixed + self.smoothing / num_classes, dtype=np.float32)


@dataclass(frozen=True)
class Samples:
    """Training samples: pairs of an image's index and a label, over images that are stored once.

    Attributes:
        images: [N, C, H, W] float32, shared by all networks.
        more_images: [M, C, H, W] float32, this network's own (triggered ones); index N + m is its image m.
        indices: [n] int32, which image each sample is.
        labels: [n] int32, each sample's label.
        soft: What else they are labelled with, or nothing.
    """

    images: Floats
    more_images: Floats
    indices: Integers
    labels: Integers
    soft: SoftLabels | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def require_fit(self, graph: Graph) -> None:
        """Check that networks of a graph can be trained on these, which compiled code does not.

        Raises:
            ZoovetError: Images of another shape, indices of no image, or labels of no class; the message says which.
        """
        for images in (self.images, self.more_images):
            require_images(graph, images)
        num_images = len(self.images) + len(self.more_images)
        _require_range("indices of images", self.indices, num_images)
        _require_range("labels", self.labels, graph.num_outputs)
        if self.soft is not None:
            _require_range("second labels", self.soft.seconds, graph.num_outputs)

    def in_order(self, order: NDArray[np.int64]) -> Samples:
        """The same samples in another order, [n] places."""
        return replace(
            self,
            indices=np.ascontiguousarray(self.indices[order]),
            labels=np.ascontiguousarray(self.labels[order]),
            soft=None if self.soft is None else self.soft.in_order(order),
        )

    def gather(self, which: NDArray[np.int64]) -> Floats:
        """The images of some samples, [k, C, H, W]."""
        index = self.indices[which]
        own = index >= len(self.images)
        result = self.images[np.where(own, 0, index)]
        result[own] = self.more_images[index[own] - len(self.images)]
        return result


def require_images(graph: Graph, images: Floats, labels: Integers | None = None) -> None:
    """Check that networks of a graph can be run on images [N, C, H, W], and their labels [N] be asked of them.

    Raises:
        ZoovetError: Images of another shape, or labels of no class; the message says which.
    """
    if images.shape[1:] != graph.input_shape:
        raise ZoovetError(
            f"these networks read images of the shape {list(graph.input_shape)}, got {list(images.shape[1:])}"
        )
    if labels is not None:
        if len(labels) != len(images):
            raise ZoovetError(f"every image needs a label, got {len(images)} images and {len(labels)} labels")
        _require_range("labels", labels, graph.num_outputs)


def _require_range(what: str, values: Integers, end: int) -> None:
    if len(values) and not (values.min() >= 0 and values.max() < end):
        raise ZoovetError(f"{what} must be at least 0 and below {end}, got {values.min()} to {values.max()}")


@dataclass(frozen=True)
class Anchor:
    """Weights that a training is held near to: it also minimizes ``strength / 2`` times the squared distance to them.

    Attributes:
        flat: [P] float32.
        strength: Added to the gradient: this times the difference, as weight decay is.
    """

    flat: Floats
    strength: float


@dataclass(frozen=True)
class OptimizerMemory:
    """What an optimizer keeps from step to step; changed in place.

    Attributes:
        first, second: The two moments (SGD's momentum is the first), float32, shaped like the parameters.
        num_steps: [1] int64, steps taken.
    """

    first: Floats
    second: Floats
    num_steps: NDArray[Any]

    @classmethod
    def fresh(cls, parameters: Floats) -> OptimizerMemory:
        """The memory before the first step."""
        return cls(np.zeros_like(parameters), np.zeros_like(parameters), np.zeros(1, dtype=np.int64))
