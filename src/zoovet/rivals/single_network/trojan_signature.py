"""Trojan signature: does one class's row of the last layer have a greater mean than all others?"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from zoovet.evidence import Runnable
from zoovet.rivals.single_network.interface import Progress, SingleNetworkResult, class_result, require_testable
from zoovet.rivals.single_network.outliers import robust_deviations
from zoovet.rivals.single_network.splitting import last_weights

__all__ = ["TrojanSignature", "gap_p_value", "gap_ratio"]

_NUM_DRAWS = 4000
_DRAWN_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class TrojanSignature:
    """Scores a network by the gap between the greatest mean weight of a class in the last layer and the next one.

    Source: Fields, Samragh, Javaheripi, Koushanfar and Javidi 2021, *Trojan Signatures in DNN Weights*: in trojaned
    networks the last layer's weights of the target lie clearly above those of the other classes, in healthy ones no
    class's do. Needs no images and runs nothing.

    Of the paper only this finding was at hand, not how it is made a decision. The score here is Dixon's ratio of the
    gap to the range, which is the usual test of a single outlier on one side, and the p-value that of the same ratio
    among as many draws from a normal distribution.

    Attributes:
        seed: Of these draws.
    """

    seed: int = 0
    needs_images: bool = field(default=False, init=False)

    def test(
        self,
        network: Runnable,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        progress: Progress = lambda _: None,
    ) -> SingleNetworkResult:
        """As in :class:`SingleNetworkTest`; class scores are the means' deviations from their median."""
        require_testable(network)
        means = last_weights(network).double().mean(1).cpu()
        ratio = gap_ratio(means)
        result = class_result(robust_deviations(means), ratio, gap_p_value(ratio, len(means), self.seed))
        progress(1.0)
        return result


def gap_ratio(values: Tensor) -> float:
    """The greatest of [classes] less the next one, over the range of all; 0 where all are the same."""
    ordered = values.double().sort().values
    span = float(ordered[-1] - ordered[0])
    return float(ordered[-1] - ordered[-2]) / span if span > 0 else 0.0


def gap_p_value(ratio: float, num_classes: int, seed: int) -> float:
    """Share of draws of as many normal numbers whose gap is as wide; no less than one draw's share."""
    generator = np.random.default_rng(seed)
    num_wider = 0
    for _ in range(_NUM_DRAWS // _DRAWN_AT_ONCE):
        drawn = torch.from_numpy(np.sort(generator.standard_normal((_DRAWN_AT_ONCE, num_classes)), axis=1))
        ratios = (drawn[:, -1] - drawn[:, -2]) / (drawn[:, -1] - drawn[:, 0])
        num_wider += int((ratios >= ratio).sum())
    return (num_wider + 1) / (_NUM_DRAWS + 1)
