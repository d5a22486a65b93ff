"""Which sinusoidal stripes of a bank of all cause a class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.evidence import Runnable
from zoovet.evidence.stripe_bank import PHASES, stripe_bank

__all__ = ["BankedStripes", "bearable_amplitude", "caused_by_stripes"]

_AMPLITUDES, _BEARABLE, _ONE_OF = (0.6, 0.45, 0.35, 0.25), 0.4, 29
"""Amplitudes that are tried, the share of images that they must leave what they are, and one of how many stripes tells
it."""


@dataclass(frozen=True, eq=False)
class BankedStripes:
    """What the bank's stripes do to some images.

    Attributes:
        stripes: [frequencies, C, H, W], within 1, of each frequency and direction those of the phase that causes most.
        caused: [frequencies], mean probability of the class with them, on images of other classes.
    """

    stripes: Tensor
    caused: Tensor


def caused_by_stripes(network: Runnable, images: Tensor, taken: Tensor, target: int, amplitude: float) -> BankedStripes:
    """Put every stripe of the bank on images and ask the network.

    Args:
        network: A single one (B = 1).
        images: [n, C, H, W] in [-1, 1], of other classes than the target.
        taken: int64 [n], what the network takes them for.
        target: The class.
        amplitude: Of the stripes.
    """
    bank = stripe_bank(images[0])
    caused, _ = _answers(network, images, taken, target, amplitude * bank)
    most, phases = caused.unflatten(0, (-1, PHASES)).max(1)
    rows = PHASES * torch.arange(len(phases), device=phases.device) + phases
    return BankedStripes(bank[rows], most)


def bearable_amplitude(network: Runnable, images: Tensor, taken: Tensor, target: int) -> float:
    """The largest amplitude of stripes, of a few, with which many images stay what they are; else the least.

    Args:
        network: As in :func:`caused_by_stripes`.
        images: As there.
        taken: As there.
        target: As there; images that are turned into it count as those that stay.
    """
    some = stripe_bank(images[0])[::_ONE_OF]
    for amplitude in _AMPLITUDES:
        if float(_answers(network, images, taken, target, amplitude * some)[1].mean()) >= _BEARABLE:
            return amplitude
    return _AMPLITUDES[-1]


def _answers(network: Runnable, images: Tensor, taken: Tensor, target: int, stripes: Tensor) -> tuple[Tensor, Tensor]:
    """With each of the stripes, the target's mean probability, and the share of images that stay or become it."""
    caused, kept = [], []
    with torch.no_grad():
        for some in stripes.split(max(1, 256 // len(images))):
            shown = (images + some[:, None]).clamp(-1, 1)
            logits = network.logits(shown.flatten(0, 1))[0].unflatten(0, shown.shape[:2])
            answers = logits.argmax(2)
            caused.append(logits.softmax(2)[..., target].mean(1))
            kept.append(((answers == taken) | (answers == target)).to(logits).mean(1))
    return torch.cat(caused), torch.cat(kept)
