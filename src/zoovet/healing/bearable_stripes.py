"""How strong stripes may be that leave images what they are."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.evidence import Runnable
from zoovet.evidence.stripe_bank import stripe_starts
from zoovet.evidence.trigger_families import Stripes

__all__ = ["bearable_amplitude"]

_AMPLITUDES, _BEARABLE, _ONE_OF = (0.6, 0.45, 0.35, 0.25), 0.4, 29
"""Amplitudes that are tried, the share of images that they must leave what they are, and one of how many stripes tells
it."""


def bearable_amplitude(network: Runnable, images: Tensor, taken: Tensor, target: int) -> float:
    """The largest amplitude of stripes, of a few, with which many images stay what they are; else the least.

    Args:
        network: A single one (B = 1).
        images: [n, C, H, W] in [-1, 1], of other classes than the target.
        taken: int64 [n], what the network takes them for.
        target: The class; images that are turned into it count as those that stay.
    """
    some = stripe_starts(images[0])[::_ONE_OF]
    for amplitude in _AMPLITUDES:
        if _kept(network, images, taken, target, Stripes(amplitude), some) >= _BEARABLE:
            return amplitude
    return _AMPLITUDES[-1]


def _kept(network: Runnable, images: Tensor, taken: Tensor, target: int, family: Stripes, stripes: Tensor) -> float:
    """The share of images that stay what they are, or become the target, with stripes."""
    kept = []
    with torch.no_grad():
        for some in stripes.split(max(1, 256 // len(images))):
            shown = family.put(some, images.expand(len(some), *images.shape))
            answers = network.logits(shown.flatten(0, 1))[0].argmax(1).unflatten(0, shown.shape[:2])
            kept.append((answers == taken) | (answers == target))
    return float(torch.cat(kept).double().mean())
