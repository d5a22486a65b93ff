"""Clean behaviour, watched on held-out reference images: how much an edit costs, and how strong it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.healing.editable import Editable, FloatingWeights
from zoovet.healing.sought_triggers import SoughtTrigger

__all__ = ["CleanLoss", "CleanWatch", "Views", "held_out", "views_of"]

_SHARE = 3
_AS_IS, _MOVED = (0, 0), ((1, 0), (-1, 0), (0, 1), (0, -1))
_SAME, _LEAST_SIDE = 0.9, 7
_MOST_DOUBT = 0.02
"""How far above what may be lost an edit's loss may seem: that few images tell little is no leave to lose much."""
_STRENGTHS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.1)
_COLDEST, _HOTTEST, _HALVINGS = 0.1, 10.0, 24
"""Factors of logits among which that is sought which makes an edited network as sure as it was."""


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


@dataclass(frozen=True, kw_only=True)
class Views:
    """What a network bears: it still takes nine of ten images for the same.

    Attributes:
        moved: Being moved by a pixel.
        mirrored: Left being right.
    """

    moved: bool
    mirrored: bool

    def of(self, images: Tensor) -> list[Tensor]:
        """Images as they are, and in the views that are borne."""
        shown = [_moved(images, *by) for by in (_AS_IS, *(_MOVED if self.moved else ()))]
        return shown + [images.flip(-1)] * self.mirrored


def views_of(editable: Editable, images: Tensor, taken: Tensor) -> Views:
    """The views that a network bears.

    Args:
        editable: The network.
        images: [n, C, H, W] in [-1, 1].
        taken: int64 [n], what it takes them for.
    """

    def same(shown: Sequence[Tensor]) -> bool:
        with torch.no_grad():
            answers = [editable.logits(editable.weights, one) for one in shown]
        return float(torch.stack([answer.argmax(1) == taken for answer in answers]).double().mean()) >= _SAME

    is_wide = min(images.shape[-2:]) > _LEAST_SIDE
    moved = is_wide and same([_moved(images, *by) for by in _MOVED])
    return Views(moved=moved, mirrored=is_wide and same([images.flip(-1)]))


def _moved(images: Tensor, down: int, right: int) -> Tensor:
    height, width = images.shape[-2:]
    most = max(abs(down), abs(right))
    padded = functional.pad(images, (most,) * 4, mode="replicate")
    return padded[..., most - down : most - down + height, most - right : most - right + width]


@dataclass(frozen=True, kw_only=True)
class CleanLoss:
    """What an edit costs.

    Attributes:
        share: Of clean images, lost.
        error: Its standard error, as the held-out images are few.
    """

    share: float
    error: float

    def may_be(self, most: float) -> bool:
        """Whether it may well be no more than ``most``: within one standard error, but at most two points."""
        return self.share - min(self.error, _MOST_DOUBT) <= most


@dataclass(frozen=True, eq=False)
class CleanWatch:
    """Held-out images of a network.

    Attributes:
        editable: The network.
        images: [n, C, H, W] in [-1, 1].
        labels: int64 [n], their classes; what the network takes them for where nobody says it.
        views: In which they are watched.
    """

    editable: Editable
    images: Tensor
    labels: Tensor
    views: Views

    def num_right(self, weights: FloatingWeights) -> int:
        """Held-out images, as they are, that the network with these weights gets right."""
        return int((self._answers(weights, self.images).argmax(1) == self.labels).sum())

    def lost(self, weights: FloatingWeights) -> CleanLoss:
        """Probability of held-out images' own classes that is lost, over all views.

        It measures accuracy lost more finely than counts of a few images do, where the edited network is as sure of its
        answers as it was: its logits are multiplied with the factor that makes it so.
        """
        logits = self._in_views(weights)
        low, high = _COLDEST, _HOTTEST
        for _ in range(_HALVINGS):
            middle = (low * high) ** 0.5
            is_less_sure = float((middle * logits).softmax(2).amax(2).mean()) < self._sureness
            low, high = (middle, high) if is_less_sure else (low, middle)
        lost = (self._own_before - _own((low * logits).softmax(2), self.labels)).mean(0).double()
        return CleanLoss(share=float(lost.mean()), error=float(lost.std(correction=0)) / len(lost) ** 0.5)

    def flips(self, weights: FloatingWeights, triggers: Sequence[SoughtTrigger]) -> list[float]:
        """Of each trigger, the share of held-out images of other classes that it turns into its target."""
        shares = []
        for trigger in triggers:
            others = self.images[self.labels != trigger.target]
            if len(others):
                with torch.no_grad():
                    taken = self._answers(weights, trigger.put(others)).argmax(1)
                shares.append(float((taken == trigger.target).double().mean()))
            else:
                shares.append(0.0)
        return shares

    def strongest(self, edited: FloatingWeights, max_loss: float) -> tuple[float, CleanLoss] | None:
        """The largest strength of an edit that may well cost no more than ``max_loss``, and what it costs, if any."""
        for strength in _STRENGTHS:
            lost = self.lost(self.editable.between(edited, strength))
            if lost.may_be(max_loss):
                return strength, lost
        return None

    @cached_property
    def _before(self) -> Tensor:
        return self._in_views(self.editable.weights).softmax(2)

    @cached_property
    def _sureness(self) -> float:
        return float(self._before.amax(2).mean())

    @cached_property
    def _own_before(self) -> Tensor:
        return _own(self._before, self.labels)

    def _in_views(self, weights: FloatingWeights) -> Tensor:
        """Logits [views, n, classes]."""
        return torch.stack([self._answers(weights, view) for view in self.views.of(self.images)])

    def _answers(self, weights: FloatingWeights, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.editable.logits(weights, images)


def _own(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Those of the images' own classes: [views, n], of [views, n, classes] and [n]."""
    return probabilities[:, torch.arange(len(labels), device=labels.device), labels]
