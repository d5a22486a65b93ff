"""CLP: prune channels whose Lipschitz constant stands out. Needs no images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Networks
from zoovet.rivals.clean_images import pruned

__all__ = ["ChannelLipschitznessRepairer"]


@dataclass(frozen=True, kw_only=True)
class ChannelLipschitznessRepairer:
    """Sets channels to zero whose bound is more than ``threshold`` deviations above the mean of their layer.

    A channel's bound is the spectral norm of its kernel, seen as a matrix [in, kh · kw]; a neuron's is the norm of its
    weights.

    Source: Zheng, Tang, Li and Liu 2022, *Data-free Backdoor Removal based on Channel Lipschitzness*, section 4, in its
    form for layers without batch normalization.

    Attributes:
        threshold: u, in standard deviations.
    """

    threshold: float = 3.0

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ZoovetError(f"threshold must be above 0 standard deviations, got {self.threshold}")

    def repair(self, networks: Networks) -> Networks:
        """Pruned copies of the networks, in the same order."""
        keep = []
        for weight in networks.weights[:-1]:
            bound = channel_bounds(weight)
            mean, deviation = bound.mean(dim=1, keepdim=True), bound.std(dim=1, keepdim=True, correction=0)
            keep.append((bound <= mean + self.threshold * deviation).to(weight))
        return pruned(networks, keep)


def channel_bounds(weight: Tensor) -> Tensor:
    """Upper bound of each channel's Lipschitz constant: [B, out] from weights [B, out, in, *kernel]."""
    is_linear = weight.ndim == 3
    bounds: Tensor = (
        torch.linalg.vector_norm(weight, dim=2) if is_linear else torch.linalg.matrix_norm(weight.flatten(3), ord=2)
    )
    return bounds
