"""Networks of few classes: those of a park, cut to some of their classes.

Whatever spoils the images of one class of two makes them the other, and of few classes a median and a deviation say
little: as many healthy networks as trojaned ones look suspicious. So evidence is sought anew of networks that tell only
some of their classes apart, and what readers' answers are worth is found out for each number of classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.evidence import Runnable
from zoovet.images import Images

__all__ = ["MANY_CLASSES", "CutNetworks", "cut_images", "drawn_classes"]

MANY_CLASSES = 8
"""From how many classes on answers are worth what they are of a park's whole networks."""


class CutNetworks:
    """Networks that tell only some of their classes apart.

    See :class:`~zoovet.evidence.Runnable`.

    Args:
        networks: Those that tell all.
        classes: int64 [some], ascending.
    """

    def __init__(self, networks: Runnable, classes: Tensor) -> None:
        self._networks, self._classes = networks, classes.to(networks.device)
        self.input_shape: tuple[int, ...] = networks.input_shape
        self.num_classes = len(classes)
        self.dtype, self.device = networks.dtype, networks.device

    def __len__(self) -> int:
        return len(self._networks)

    def __getitem__(self, index: slice) -> CutNetworks:
        return CutNetworks(self._networks[index], self._classes)

    def logits(self, images: Tensor) -> Tensor:
        """Logits [B, N, some] on images [N, C, H, W] or [B, N, C, H, W] in [-1, 1]; differentiable to the images."""
        return self._networks.logits(images)[..., self._classes]


def drawn_classes(num_classes: int, count: int, target: int | None, seed: int) -> Tensor:
    """Some of a network's classes.

    Args:
        num_classes: That it tells apart.
        count: How many are drawn.
        target: One of them.
        seed: Of what is drawn.

    Returns:
        int64 [count], ascending.
    """
    order = torch.rand(num_classes, generator=torch.Generator().manual_seed(seed))
    if target is not None:
        order[target] = 2.0
    return order.topk(count).indices.sort().values


def cut_images(images: Images, classes: Tensor) -> Images:
    """Those images that are of some classes [some], ascending; their labels count these."""
    labels = images.required_labels
    chosen = torch.isin(labels, classes).nonzero().flatten()
    return Images(pixels=images.pixels[chosen], labels=torch.searchsorted(classes, labels[chosen]))
