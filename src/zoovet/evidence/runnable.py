"""What evidence needs of networks: to run them. Images are in [-1, 1], whatever scaling a network itself reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = ["Inspectable", "Runnable"]


@runtime_checkable
class Runnable(Protocol):
    """B classifiers of one architecture that can be run, whatever they are made of."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of an image: ``(channels, height, width)``."""

    @property
    def num_classes(self) -> int:
        """Numbers that each of them answers for an image."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the images and of the answers."""

    @property
    def device(self) -> torch.device:
        """Where the images have to be."""

    def __len__(self) -> int:
        """How many networks."""

    def __getitem__(self, index: slice) -> Runnable:
        """Some of them."""

    def logits(self, images: Tensor) -> Tensor:
        """What they answer, differentiable to the images.

        Args:
            images: [N, C, H, W] in [-1, 1] for all of them, or [B, N, C, H, W].

        Returns:
            [B, N, classes].
        """


@runtime_checkable
class Inspectable(Runnable, Protocol):
    """Runnable networks whose sites and parameters are known."""

    def site_means(self, images: Tensor) -> Mapping[str, Tensor]:
        """Each site's channels, their mean over the map where they have one; the output's are the logits, and last.

        Args:
            images: As in :meth:`logits`.

        Returns:
            Site → [B, N, channels].
        """

    def loss_gradients(self, images: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """Gradients of each network's mean cross-entropy.

        Args:
            images: As in :meth:`logits`.
            labels: int64 [N].

        Returns:
            Parameter → [B, \\*shape].
        """

    def weights(self) -> Mapping[str, Tensor]:
        """Parameter → [B, \\*shape]."""
