"""The reference images that a test is given, checked against the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable
from zoovet.evidence.scaled_images import as_signed

__all__ = ["ReferenceImages"]


@dataclass(frozen=True, eq=False)
class ReferenceImages:
    """Clean images of the kind that a network reads.

    Attributes:
        images: [n, C, H, W] in [-1, 1], in the network's precision and place.
        labels: int64 [n], their classes.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def required(cls, name: str, network: Runnable, images: Tensor | None, labels: Tensor | None) -> ReferenceImages:
        """Check what a test was given.

        Args:
            name: Of the test, for messages.
            network: The network.
            images: As in :meth:`SingleNetworkTest.test`.
            labels: The same.

        Raises:
            ZoovetError: There are no images, they are of another shape than the network reads, or labels do not fit.
        """
        if images is None or not len(images):
            raise ZoovetError(f"{name} needs reference images of the kind that the network reads; give some")
        shape = network.input_shape
        if tuple(images.shape[1:]) != shape:
            raise ZoovetError(
                f"reference images must be [n, {', '.join(map(str, shape))}], got {list(images.shape)}: {name} seeks a "
                "trigger of that shape"
            )
        shown = as_signed(images).detach().to(network.device, network.dtype)
        if labels is None:
            with torch.no_grad():
                labels = network.logits(shown)[0].argmax(1)
        if labels.shape != (len(shown),) or labels.dtype != torch.int64:
            raise ZoovetError(f"labels of {len(shown)} images must be int64 [{len(shown)}], got {list(labels.shape)}")
        if int(labels.min()) < 0 or int(labels.max()) >= network.num_classes:
            raise ZoovetError(
                f"labels must lie in 0 to {network.num_classes - 1}, got {int(labels.min())} to {int(labels.max())}"
            )
        return cls(shown, labels.to(shown.device))

    def at_most(self, count: int, seed: int) -> ReferenceImages:
        """Drawn ones, or all where there are no more."""
        if len(self) <= count:
            return self
        rows = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count]
        rows = rows.sort().values.to(self.labels.device)
        return ReferenceImages(self.images[rows], self.labels[rows])
