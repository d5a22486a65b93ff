"""The input scaling of a network, found on labelled images: the usual ones are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.stats import binom, ttest_rel
from torch import Tensor

from zoovet.images import Images
from zoovet.networks import SCALING_PRESETS, InputScaling
from zoovet.vet.network import are_probabilities

__all__ = ["FoundScaling", "find_scaling", "some_images"]

_ONE_CHANNEL, _THREE_CHANNELS = ("mnist", "fashion_mnist"), ("imagenet", "cifar10")
_MAX_IMAGES = 500
_CHANCE, _DOUBT = 0.001, 0.05
_ALIKE = 0.9
_FACTORS = tuple(10 ** (eighths / 8) for eighths in range(-24, 9))
_LEAST = -100.0
"""What a log probability counts as at least: answers that overflowed are as bad as can be, not undefined."""


@dataclass(frozen=True, kw_only=True)
class FoundScaling:
    """What was found.

    Attributes:
        scaling: The one that is clearly best; ``None`` where none is.
        accuracy: Share of the images that the network gets right with the best.
        note: One line that says so: the accuracy, and that of the runner-up.
    """

    scaling: InputScaling | None
    accuracy: float
    note: str


def find_scaling(logits: Callable[[InputScaling], Tensor], images: Images) -> FoundScaling:
    """The usual input scaling with which a network gets labelled images right.

    The best is the one under which the labels are likeliest, once the network's answers are as sure as suits them: a
    wrong scaling may make them sure of everything, or of nothing. It is taken where it gets more right than chance
    would and is clearly better (paired t-test of the labels' log probabilities, one-sided, 5 %) than each other but
    those with which the network answers nearly alike, on nine of ten images, which are named. One that gets fewer right
    than another is never taken. Of more than 500 images, 500 are used.

    Args:
        logits: From a scaling to what the network answers on these images, [N, classes].
        images: With labels.

    Returns:
        The scaling, or why none is taken.
    """
    assert images.labels is not None
    labels = images.labels
    names = [*_usual(images.shape[0])]
    answers = {name: logits(SCALING_PRESETS[name]).double() for name in names}
    likely = {name: _log_probabilities(one, labels) for name, one in answers.items()}
    right = {name: float((one.argmax(1) == labels).double().mean()) for name, one in answers.items()}
    best = max(names, key=lambda name: (float(likely[name].mean()), right[name]))
    alike = [name for name in names if _agree(answers[name], answers[best]) >= _ALIKE]
    others = sorted((name for name in names if name not in alike), key=lambda name: -right[name])
    what = f"{len(labels)} labelled images"
    first = f"{SCALING_PRESETS[best].describe()} gets {right[best]:.2f} right"
    next_best = f"{SCALING_PRESETS[others[0]].describe()} {right[others[0]]:.2f}" if others else "no other differs"
    ask = "give more images, or --scaling NAME"
    if not _is_above_chance(answers[best], labels):
        note = f"input scaling not found on {what}: the best, {first}, no more than chance; {ask}"
        return FoundScaling(scaling=None, accuracy=right[best], note=note)
    if not all(_is_better(likely[best], likely[name]) and right[best] >= right[name] for name in others):
        note = f"input scaling not found on {what}: {first}, {next_best}, which is no clear difference; {ask}"
        return FoundScaling(scaling=None, accuracy=right[best], note=note)
    near = [f"{SCALING_PRESETS[name].describe()} {right[name]:.2f}" for name in alike if name != best]
    also = f"; nearly the same answers with {', '.join(near)}" if near else ""
    note = f"input scaling found on {what}: {first}; next best {next_best}{also}"
    return FoundScaling(scaling=SCALING_PRESETS[best], accuracy=right[best], note=note)


def some_images(images: Images) -> Images:
    """At most 500 of the images, evenly spread."""
    if len(images) <= _MAX_IMAGES:
        return images
    return images[torch.linspace(0, len(images) - 1, _MAX_IMAGES).round().long()]


def _usual(channels: int) -> list[str]:
    left_out = {1: _THREE_CHANNELS, 3: _ONE_CHANNEL}.get(channels, (*_ONE_CHANNEL, *_THREE_CHANNELS))
    return [name for name in SCALING_PRESETS if name not in left_out]


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


def _is_above_chance(answers: Tensor, labels: Tensor) -> bool:
    """Whether it gets more right than it would if its answers had nothing to do with the labels."""
    predicted, num_classes = answers.argmax(1), answers.shape[1]
    shares = [one.bincount(minlength=num_classes).double() / len(labels) for one in (predicted, labels)]
    num_right = int((predicted == labels).sum())
    return float(binom.sf(num_right - 1, len(labels), float(shares[0] @ shares[1]))) < _CHANCE
