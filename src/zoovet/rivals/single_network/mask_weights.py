"""How much the size of a mask counts, from epoch to epoch: more while images are turned, less while they are not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError

__all__ = ["MaskWeights", "MaskWeightsConfig"]


@dataclass(frozen=True, kw_only=True)
class MaskWeightsConfig:
    """The schedule of the weight of a mask's size.

    An epoch is successful where the patch turned at least ``success`` of the images. The weight is zero until
    ``patience`` epochs in a row were successful, then ``initial_weight``. From then on it grows by ``weight_factor``
    after every ``patience`` successful epochs in a row, and shrinks by that to the power of 1.5 after as many that were
    not.

    Attributes:
        success: Share of the images that must be turned.
        initial_weight: Of the mask's size, once there is one.
        weight_factor: By which that grows.
        patience: Epochs in a row before it changes.
        stop_patience: A class's search ends after so many epochs without a smaller mask, once its weight has grown and
            shrunk.

    Raises:
        ZoovetError: A number out of its range.
    """

    success: float = 0.99
    initial_weight: float = 1e-3
    weight_factor: float = 2.0
    patience: int = 5
    stop_patience: int = 25

    def __post_init__(self) -> None:
        if not 0 < self.success <= 1:
            raise ZoovetError(f"success must be a share above 0 and at most 1, got {self.success}")
        if not self.initial_weight > 0 or not self.weight_factor > 1:
            raise ZoovetError(
                f"initial_weight must be above 0 and weight_factor above 1, got {self.initial_weight} and "
                f"{self.weight_factor}"
            )
        if min(self.patience, self.stop_patience) < 1:
            raise ZoovetError(
                f"patience and stop_patience must be at least 1, got {self.patience} and {self.stop_patience}"
            )


class MaskWeights:
    """The weight of each class's mask size from epoch to epoch, and the smallest mask that was successful.

    Args:
        num_classes: Classes that a patch is searched for.
        config: The search.

    Attributes:
        values: The weights, float64 [classes].
        norms: Of the mask that counts, float64 [classes]: that of the successful epoch of the least mean norm, the last
            epoch's where there was none.
        is_searched: Whether a class's search goes on.
    """

    def __init__(self, num_classes: int, config: MaskWeightsConfig) -> None:
        self._config = config
        self.values = torch.zeros(num_classes, dtype=torch.float64)
        self.norms = self.values.clone()
        self._least_mean = torch.full_like(self.values, torch.inf)
        self.is_searched = torch.ones_like(self.values, dtype=torch.bool)
        self._grown, self._shrunk = ~self.is_searched, ~self.is_searched
        self._successes, self._failures, self._no_smaller = (torch.zeros_like(self.values) for _ in range(3))

    def update(self, means: Tensor, turned: Tensor, norms: Tensor) -> None:
        """Take in an epoch of the searched classes.

        Args:
            means: Of the masks' norms over the epoch's steps, float64 [classes].
            turned: Shares of the images that were turned, float64 [classes].
            norms: Of the masks at the end, float64 [classes].
        """
        config, works = self._config, turned >= self._config.success
        is_smaller = self.is_searched & works & (means < self._least_mean)
        self._least_mean = torch.where(is_smaller, means, self._least_mean)
        self.norms = torch.where(is_smaller | (self.is_searched & self._least_mean.isinf()), norms, self.norms)
        self._no_smaller = torch.where(is_smaller | self._least_mean.isinf(), 0, self._no_smaller + 1)
        self.is_searched &= ~(self._grown & self._shrunk & (self._no_smaller >= config.stop_patience))
        self._successes = torch.where(works, self._successes + 1, 0)
        self._failures = torch.where(works, 0, self._failures + 1)
        starts = (self.values == 0) & (self._successes >= config.patience)
        grows = ~starts & (self._successes >= config.patience)
        shrinks = self._failures >= config.patience
        self.values = torch.where(grows, self.values * config.weight_factor, self.values)
        self.values = torch.where(shrinks, self.values / config.weight_factor**1.5, self.values)
        self.values = torch.where(starts, config.initial_weight, self.values)
        self._grown = (self._grown | grows) & ~starts
        self._shrunk = (self._shrunk | shrinks) & ~starts
        self._successes = torch.where(starts, 1, torch.where(grows, 0, self._successes))
        self._failures = torch.where(shrinks, 0, self._failures)
