"""Which of several ways to read a network is the true one: the one under which labels of images are likeliest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from scipy.stats import binomtest, ttest_rel
from torch import Tensor

from zoovet.vet.label_order import above_chance, order_of_the_best
from zoovet.vet.network import are_probabilities

__all__ = ["Ranked", "rank"]

_DOUBT, _LESS_DOUBT = 0.05, 0.01
_ALIKE = 0.9
_FACTORS = tuple(10 ** (eighths / 8) for eighths in range(-24, 9))
_LEAST = -100.0
"""What a log probability counts as at least: answers that overflowed are as bad as can be, not undefined."""


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Ways to read a network, by how well its answers suit the labels.

    Attributes:
        order: All of them, those under which the labels are likeliest first.
        right: Way → share of the images that the network gets right.
        alike: Others than the best with which it answers nearly alike, on nine of ten images.
        others: The rest, those that get most right first.
        is_above_chance: Whether the best gets more right than it would if its answers had nothing to do with the
            labels (binomial test, 0.1 %).
        is_clear: Whether the best gets no fewer right than each of ``others``, and the labels are clearly likelier
            under it (paired t-test of their log probabilities, one-sided, 5 %).
        are_other_outputs: Whether the labels clearly are other outputs of the network than their own numbers, as where
            folders are sorted by name and its classes are not; they count as these then.
        is_clearly_right: Whether it gets clearly more right than each of ``others`` (McNemar's exact test, one-sided,
            1 %). Another network of the same weights, with a smoother activation, say, may make labels likelier than
            the true one does, which is surer of its errors; that it is more often right as well is asked of such.
    """

    order: tuple[str, ...]
    right: Mapping[str, float]
    alike: tuple[str, ...]
    others: tuple[str, ...]
    is_above_chance: bool
    is_clear: bool
    is_clearly_right: bool
    are_other_outputs: bool

    @property
    def labels_in_words(self) -> str:
        """For a note, behind "labelled images": whose labels these are, where they are not the network's own."""
        return ", whose labels are other outputs of the network" if self.are_other_outputs else ""

    @property
    def best(self) -> str:
        """The first."""
        return self.order[0]


def rank(answers: Mapping[str, Tensor], labels: Tensor, alike: float = _ALIKE) -> Ranked:
    """Compare ways to read a network by its answers on labelled images.

    Answers are made as sure as suits them first: a wrong way may make a network sure of everything, or of nothing.
    Labels that clearly are other outputs count as these (:func:`~zoovet.vet.label_order.label_order`).

    Args:
        answers: Way → logits or probabilities [N, classes].
        labels: int64 [N].
        alike: Share of images on which two ways answer the same that counts as nearly alike.
    """
    outputs = order_of_the_best(answers, labels)
    if outputs is not None:
        labels = outputs[labels]
    exact = {way: one.double() for way, one in answers.items()}
    likely = {way: _log_probabilities(one, labels) for way, one in exact.items()}
    right = {way: float((one.argmax(1) == labels).double().mean()) for way, one in exact.items()}
    order = sorted(exact, key=lambda way: (-float(likely[way].mean()), -right[way]))
    best = order[0]
    near = tuple(way for way in exact if way != best and _agree(exact[way], exact[best]) >= alike)
    others = tuple(sorted((way for way in exact if way != best and way not in near), key=lambda way: -right[way]))
    return Ranked(
        order=tuple(order),
        right=right,
        alike=near,
        others=others,
        is_above_chance=above_chance(exact[best].argmax(1), labels, exact[best].shape[1]),
        is_clear=all(_is_better(likely[best], likely[way]) and right[best] >= right[way] for way in others),
        are_other_outputs=outputs is not None,
        is_clearly_right=all(_is_more_right(exact[best], exact[way], labels) for way in others),
    )


def _log_probabilities(answers: Tensor, labels: Tensor) -> Tensor:
    """The labels' log probabilities [N], answers [N, classes] times the factor that makes them highest on the whole."""
    logits = answers.clamp_min(1e-30).log() if are_probabilities(answers) else answers
    tried = [(logits * factor).log_softmax(1)[torch.arange(len(labels)), labels] for factor in _FACTORS]
    bounded = torch.stack(tried).nan_to_num(nan=_LEAST).clamp_min(_LEAST)
    return bounded[int(bounded.mean(1).argmax())]


def _agree(first: Tensor, second: Tensor) -> float:
    return float((first.argmax(1) == second.argmax(1)).double().mean())


def _is_better(best: Tensor, other: Tensor) -> bool:
    """Whether the mean is clearly higher, image by image."""
    difference = best - other
    if len(difference) < 2:
        return False
    if float(difference.std()) == 0:
        return float(difference.mean()) > 0
    return float(ttest_rel(best.numpy(), other.numpy(), alternative="greater").pvalue) < _DOUBT


def _is_more_right(best: Tensor, other: Tensor, labels: Tensor) -> bool:
    """Whether it gets clearly more right, by the images that only one of both gets right."""
    ours, theirs = best.argmax(1) == labels, other.argmax(1) == labels
    won, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return won > lost and float(binomtest(won, won + lost, alternative="greater").pvalue) < _LESS_DOUBT
