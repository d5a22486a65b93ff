"""MM-BD: the largest margin that any image at all gives a class, and does one class's stand out?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.special import gammaln
from scipy.stats import gamma
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable
from zoovet.evidence.class_search import margins_of
from zoovet.rivals.single_network.interface import (
    Progress,
    SingleNetworkResult,
    class_result,
    require_finite,
    require_testable,
)

__all__ = ["MaximumMargin", "MaximumMarginConfig", "largest_margins", "log_p_value"]

_IMAGES_AT_ONCE = 256
_LEAST_SHARE = 1e-6


@dataclass(frozen=True, kw_only=True)
class MaximumMarginConfig:
    """The ascent; the defaults are those of the authors' code.

    Attributes:
        num_starts: Images of noise for each class, the same for all classes.
        num_steps: At most.
        learning_rate: Of gradient ascent on pixels in [0, 1].
        momentum: Of the same.
        tolerance: A class's ascent ends where its summed margin changes by a smaller share than this.
        seed: Of the noise.

    Raises:
        ZoovetError: A number out of its range.
    """

    num_starts: int = 30
    num_steps: int = 300
    learning_rate: float = 0.01
    momentum: float = 0.2
    tolerance: float = 1e-5
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.num_starts, self.num_steps) < 1:
            raise ZoovetError(
                f"num_starts and num_steps must be at least 1, got {self.num_starts} and {self.num_steps}"
            )
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1:
            raise ZoovetError(
                f"learning_rate must be above 0 and momentum at least 0 and below 1, got {self.learning_rate} and "
                f"{self.momentum}"
            )

    @classmethod
    def reduced(cls) -> MaximumMarginConfig:
        """For processors: few starts, and fewer but longer steps."""
        return cls(num_starts=6, num_steps=100, learning_rate=0.03)


@dataclass(frozen=True, kw_only=True)
class MaximumMargin:
    """Scores a network by how unlikely its largest margin is, were it drawn as the other classes' are; needs no images.

    Source: Wang, Xiang, Miller and Kesidis 2024, *MM-BD: Post-Training Detection of Backdoor Attacks with Arbitrary
    Backdoor Pattern Types Using a Maximum Margin Statistic*, section 3: gradient ascent on the logit of a class less
    the greatest other one; a Gamma distribution fitted to all but the largest of the classes' margins; the p-value of
    the largest as the greatest of as many draws as there are classes, which is the power that the authors' code has.
    They flag below 0.05, which a quarter of all draws of ten from one Gamma distribution are, since what is fitted to
    all but the largest is too narrow.

    Other than in that code: the Gamma distribution starts at 0, since three numbers fitted to nine margins fit nearly
    anything; all classes start from the same noise, so that their order does not count; pixels are cut to [0, 1] after
    each step rather than before each run; a class's ascent stops by itself, not with its largest start. The score is
    -log10 of the p-value, which orders networks even where the p-value is 0 to the computer.

    Attributes:
        config: The ascent.
    """

    config: MaximumMarginConfig = field(default_factory=MaximumMarginConfig)
    needs_images: bool = field(default=False, init=False)

    def test(
        self,
        network: Runnable,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        progress: Progress = lambda _: None,
    ) -> SingleNetworkResult:
        """As in :class:`SingleNetworkTest`; class scores are the margins."""
        require_testable(network)
        margins = largest_margins(network, self.config, progress)
        require_finite(margins)
        log_p = log_p_value(margins)
        return class_result(margins, -log_p / math.log(10), math.exp(log_p))


def largest_margins(network: Runnable, config: MaximumMarginConfig, progress: Progress = lambda _: None) -> Tensor:
    """The largest margin found for each class: float64 [classes]."""
    generator = torch.Generator().manual_seed(config.seed)
    noise = torch.rand(config.num_starts, *network.input_shape, generator=generator)
    with torch.inference_mode(False):
        noise = noise.to(network.device, network.dtype)
        at_once = max(1, _IMAGES_AT_ONCE // config.num_starts)
        found = []
        for classes in torch.arange(network.num_classes, device=noise.device).split(at_once):
            found.append(_ascend(network, noise, classes, config))
            progress((int(classes[-1]) + 1) / network.num_classes)
    return torch.cat(found).double().cpu()


def _ascend(network: Runnable, noise: Tensor, classes: Tensor, config: MaximumMarginConfig) -> Tensor:
    """[classes], each from the same noise [starts, C, H, W]."""
    count = len(noise)
    pixels = noise.repeat(len(classes), 1, 1, 1)
    velocity, wanted = torch.zeros_like(pixels), classes.repeat_interleave(count)
    best = pixels.new_full((len(classes),), -torch.inf)
    last, is_sought = torch.full_like(best, torch.inf), torch.ones_like(best, dtype=torch.bool)
    for _ in range(config.num_steps):
        rows = is_sought.repeat_interleave(count).nonzero().flatten()
        with torch.enable_grad():
            own = pixels[rows].requires_grad_()
            margins = margins_of(network.logits(2 * own - 1)[0], wanted[rows])
            slopes = torch.autograd.grad(margins.sum(), own)[0]
        velocity[rows] = config.momentum * velocity[rows] + slopes
        pixels[rows] = (pixels[rows] + config.learning_rate * velocity[rows]).clamp(0, 1)
        each = margins.detach().view(-1, count)
        best[is_sought] = torch.maximum(best[is_sought], each.amax(1))
        sums = each.sum(1)
        moves = (sums - last[is_sought]).abs() >= config.tolerance * last[is_sought].abs()
        last[is_sought] = sums
        is_sought[is_sought.clone()] = moves | ~sums.isfinite()
        if not bool(is_sought.any()):
            break
    return best


def log_p_value(margins: Tensor) -> float:
    """Natural logarithm of the p-value of the largest of several margins, [classes].

    Margins below 0, of classes that no image is classified as, count as hardly more than 0.
    """
    ordered = margins.double().sort().values.numpy()
    least = max(abs(float(ordered[-1])), 1.0) * _LEAST_SHARE
    others, largest = np.maximum(ordered[:-1], least), max(float(ordered[-1]), least)
    if np.ptp(others) > _LEAST_SHARE * others.max():
        shape, _, scale = gamma.fit(others, floc=0)
    else:  # no spread to fit: as narrow as the computer tells apart
        shape, scale = _LEAST_SHARE**-2, others.mean() * _LEAST_SHARE**2
    log_tail = _log_tail(largest / scale, shape)
    # 1 - (1 - tail)^classes, without losing what is small
    p_value = -math.expm1(len(ordered) * math.log1p(-math.exp(log_tail))) if log_tail < 0 else 1.0
    return math.log(p_value) if p_value > 0 else log_tail + math.log(len(ordered))


def _log_tail(value: float, shape: float) -> float:
    """Logarithm of the share of a Gamma distribution of scale 1 above a value, however small it is."""
    exact = float(gamma.logsf(value, shape))
    if math.isfinite(exact):
        return exact
    leading = (shape - 1) * math.log(value) - value - float(gammaln(shape))
    return leading - math.log1p(-(shape - 1) / value)
