"""Whether a class's own images have what stripes are made of: where they do, it is no wonder that stripes cause it.

Of networks that nothing was planted in, those trained on photographs have a class that stripes cause as easily as they
cause a planted one's target: the class whose images have the finest texture. What is planted is of a frequency that
the class's own images seldom have.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["natural_power"]

_TINY = 1e-6
_LEAST_SPREAD = 0.1


def natural_power(images: Tensor, labels: Tensor, classes: Tensor, changes: Tensor) -> Tensor:
    """By how many standard deviations over classes a class's images have more of a change's frequencies than others.

    An image's power is the logarithm of the mean of its power spectrum, in gray, weighted by the change's own, which is
    spread over neighboring frequencies, as few changes have whole periods. Phases do not matter.

    Args:
        images: Reference images [n, C, H, W].
        labels: int64 [n], their classes.
        classes: int64 [k], the class that each change is to cause.
        changes: [k, C, H, W], added to images.

    Returns:
        [k]; 0 for a class that has no image, and where images are of fewer than three classes.
    """
    gray, wanted = (_spectra(values.mean(1)) for values in (images, changes))
    neighbors = [wanted.roll((down, across), (-2, -1)) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    spread = torch.stack(neighbors).sum(0)
    weights = spread.flatten(1) / spread.flatten(1).sum(1, keepdim=True).clamp_min(_TINY)
    powers = (gray.flatten(1) @ weights.mT).clamp_min(_TINY).log()
    known = labels.unique()
    if len(known) < 3:
        return powers.new_zeros(len(classes))
    means = torch.stack([powers[labels == label].mean(0) for label in known])
    above = (means - means.mean(0)) / (means.std(0) + _LEAST_SPREAD)
    standing: Tensor = (above * (known[:, None] == classes)).sum(0)
    return standing


def _spectra(gray: Tensor) -> Tensor:
    """Power spectra [n, H, W] of images without their means."""
    spectra: Tensor = torch.fft.fft2(gray - gray.mean((-2, -1), keepdim=True)).abs().square()
    return spectra
