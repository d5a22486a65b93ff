"""Training images for networks in function-space losses: clean ones, and ones that carry each network's own trigger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import Graph
from zoovet.tasks.random_streams import seeded_generator

__all__ = ["ImagePool", "places_of_each_class"]


@dataclass(frozen=True, eq=False)
class ImagePool:
    """Labelled images in memory, ready for networks.

    Attributes:
        images: float32 [N, C, H, W] in [-1, 1].
        labels: int64 [N].
    """

    images: Tensor
    labels: Tensor

    @classmethod
    def split(cls, images: Images, num_held_out: int, seed: int) -> tuple[ImagePool, ImagePool]:
        """Two pools: images to train on, and ``num_held_out`` others, drawn at random, to validate on.

        Raises:
            ZoovetError: There are not enough images to leave one for training.
        """
        if num_held_out >= len(images):
            raise ZoovetError(
                f"{num_held_out} validation images are asked for, but {images.name!r} has {len(images)} training "
                f"images; lower num_validation_images"
            )
        order = torch.randperm(len(images), generator=seeded_generator(seed, "held-out images"))
        values = images.scaled()
        held_out, rest = order[:num_held_out], order[num_held_out:]
        return cls(values[rest], images.required_labels[rest]), cls(values[held_out], images.required_labels[held_out])

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> ImagePool:
        """The same images on another device."""
        return ImagePool(self.images.to(device), self.labels.to(device))

    def require_fit(self, graphs: Sequence[Graph]) -> None:
        """Check that every graph's networks can read the images and tell their labels apart.

        Raises:
            ZoovetError: An input shape or a number of classes differs; the message says both.
        """
        shape, num_labels = tuple(self.images.shape[1:]), int(self.labels.max()) + 1
        for graph in graphs:
            if graph.input_shape != shape or graph.num_outputs < num_labels:
                raise ZoovetError(
                    f"the zoo's networks ({graph.describe()}) do not fit the training images: {shape} with "
                    f"{num_labels} labels; give the images of the zoo's dataset"
                )

    def draw(self, num_networks: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random images for each network, with replacement: [B, count, C, H, W], and their labels [B, count]."""
        chosen = torch.randint(len(self), (num_networks, count), generator=generator).to(self.labels.device)
        return self.images[chosen], self.labels[chosen]

    def of_each_class(self, count: int, generator: torch.Generator) -> Tensor:
        """Random images of each class, without replacement: [classes, count, C, H, W].

        Raises:
            ZoovetError: A class has fewer.
        """

        def order(total: int) -> Tensor:
            return torch.randperm(total, generator=generator)

        return self.images[places_of_each_class(self.labels, int(self.labels.max()) + 1, count, order)]


def places_of_each_class(labels: Tensor, num_classes: int, count: int, order: Callable[[int], Tensor]) -> Tensor:
    """Places of random images of each class, without replacement: int64 [classes, count].

    Args:
        labels: int64 [N].
        num_classes: How many classes there are.
        count: Images of each.
        order: A random permutation of so many numbers; called class by class.

    Raises:
        ZoovetError: A class has fewer.
    """
    drawn = []
    for label in range(num_classes):
        places = (labels == label).nonzero().squeeze(1)
        if len(places) < count:
            raise ZoovetError(f"{count} images of each class are asked for, but there are {len(places)} of {label}")
        drawn.append(places[order(len(places))[:count]])
    return torch.stack(drawn)
