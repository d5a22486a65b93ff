"""Clean behaviour, watched on held-out reference images: how much an edit costs, and how strong it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.healing.editable import Editable, FloatingWeights
from zoovet.healing.sought_triggers import SoughtTrigger

__all__ = ["CleanWatch", "bears_moves", "held_out"]

_SHARE = 3
_AS_IS, _MOVED = ((0, 0),), ((1, 0), (-1, 0), (0, 1), (0, -1))
_SAME, _LEAST_SIDE = 0.9, 7
_STRENGTHS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.1)
_UNSURE = 0.5
"""Held-out images by which a loss may be larger than asked for: a few images measure it no finer."""


def held_out(classes: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to learn from and rows to watch, about a third, of every class as evenly as can be.

    Args:
        classes: int64 [n], of each image.
        seed: Of the order.
    """
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))
    by_class = order[classes.cpu()[order].argsort(stable=True)]
    is_held = torch.zeros(len(classes), dtype=torch.bool)
    is_held[by_class[_SHARE - 1 :: _SHARE]] = True
    return torch.nonzero(~is_held).flatten(), torch.nonzero(is_held).flatten()


def bears_moves(editable: Editable, images: Tensor, taken: Tensor) -> bool:
    """Whether a network still takes nine of ten images for the same when they are moved by a pixel.

    Args:
        editable: The network.
        images: [n, C, H, W] in [-1, 1].
        taken: int64 [n], what it takes them for.
    """
    with torch.no_grad():
        answers = [editable.logits(editable.weights, _moved(images, *by)) for by in _MOVED]
    same = torch.stack([answer.argmax(1) == taken for answer in answers]).double().mean()
    return min(images.shape[-2:]) > _LEAST_SIDE and float(same) >= _SAME


def _moved(images: Tensor, down: int, right: int) -> Tensor:
    height, width = images.shape[-2:]
    most = max(abs(down), abs(right))
    padded = functional.pad(images, (most,) * 4, mode="replicate")
    return padded[..., most - down : most - down + height, most - right : most - right + width]


@dataclass(frozen=True, eq=False)
class CleanWatch:
    """Held-out images of a network.

    Attributes:
        editable: The network.
        images: [n, C, H, W] in [-1, 1].
        labels: int64 [n], their classes; what the network takes them for where nobody says it.
        is_moved: Whether images that are moved by a pixel are watched too.
    """

    editable: Editable
    images: Tensor
    labels: Tensor
    is_moved: bool

    def num_right(self, weights: FloatingWeights) -> int:
        """Held-out images, as they are, that the network with these weights gets right."""
        return int((self._answers(weights, self.images) == self.labels).sum())

    def lost(self, weights: FloatingWeights) -> float:
        """Share of held-out images that are right no more, less those that became so, over all views."""
        views = [_moved(self.images, *by) for by in (*_AS_IS, *(_MOVED if self.is_moved else ()))]
        before, after = 0, 0
        for view in views:
            before += int((self._answers(self.editable.weights, view) == self.labels).sum())
            after += int((self._answers(weights, view) == self.labels).sum())
        return (before - after) / (len(views) * len(self.labels))

    def flips(self, weights: FloatingWeights, triggers: Sequence[SoughtTrigger]) -> list[float]:
        """Of each trigger, the share of held-out images of other classes that it turns into its target."""
        shares = []
        for trigger in triggers:
            others = self.images[self.labels != trigger.target]
            if len(others):
                with torch.no_grad():
                    taken = self._answers(weights, trigger.put(others))
                shares.append(float((taken == trigger.target).double().mean()))
            else:
                shares.append(0.0)
        return shares

    def strongest(self, edited: FloatingWeights, max_loss: float) -> tuple[float, float] | None:
        """The largest strength of an edit that costs no more than ``max_loss``, and what it costs; else ``None``.

        Half an image of loss more is let pass, since a few images measure it no finer.
        """
        for strength in _STRENGTHS:
            lost = self.lost(self.editable.between(edited, strength))
            if lost <= max_loss + _UNSURE / len(self.labels):
                return strength, lost
        return None

    def _answers(self, weights: FloatingWeights, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.editable.logits(weights, images).argmax(1)
