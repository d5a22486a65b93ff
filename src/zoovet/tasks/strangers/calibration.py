"""What a logit of a detector for strangers is worth: a probability, and a threshold for a rate of false alarms.

Both come of networks that were strangers to the readers which scored them: each image set was left out in turn, so that
what is promised is promised for networks of images that no training network has seen. Source of the threshold: Vovk,
Gammerman and Shafer 2005, *Algorithmic Learning in a Random World*, section 2.2 (conformal prediction).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.tasks.calibration import Calibration

__all__ = ["Worth", "fitted_calibration", "threshold_logit"]

_NUM_STEPS = 100
_LEAST_SCALE = 0.05
_TAIL_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Worth:
    """What readers' answers are worth, of networks of some number of classes.

    Attributes:
        calibration: From logits to probabilities.
        healthy: [n], logits of healthy strangers, ascending.
        cutoff: How unlike known networks they may be, and be judged.
    """

    calibration: Calibration
    healthy: Tensor
    cutoff: float


def fitted_calibration(logits: Tensor, is_trojaned: Tensor) -> Calibration:
    """The line through logits [n] that makes probabilities right, of as many trojaned as healthy networks.

    Source: Platt 1999, *Probabilistic Outputs for Support Vector Machines*, section 2.2, with its smoothed answers.

    Raises:
        ZoovetError: There are no healthy, or no trojaned networks among them.
    """
    trojaned, healthy = int(is_trojaned.sum()), int((~is_trojaned).sum())
    if min(trojaned, healthy) < 1:
        raise ZoovetError(f"a calibration needs healthy and trojaned networks, got {healthy} and {trojaned}")
    wanted = torch.where(is_trojaned, (trojaned + 1) / (trojaned + 2), 1 / (healthy + 2)).double()
    weights = torch.where(is_trojaned, 0.5 / trojaned, 0.5 / healthy).double()
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([line], max_iter=_NUM_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        answers = functional.binary_cross_entropy_with_logits(
            line[0] * logits.double() + line[1], wanted, weight=weights, reduction="sum"
        )
        answers.backward()
        return answers

    optimizer.step(loss)
    scale, shift = line.detach().tolist()
    return Calibration(max(_LEAST_SCALE, scale), shift)


def threshold_logit(healthy: Tensor, false_alarms: float) -> float:
    """The logit from which on a network is called trojaned.

    A healthy stranger reaches it at most as often as asked, where it is drawn like the networks of ``healthy``. For
    rates that so few networks cannot vouch for (below one of their number and one), it is where an exponential tail
    through the highest fifth of them leads.

    Source of the tail: Pickands 1975, *Statistical Inference Using Extreme Order Statistics*, section 2, of shape 0;
    its mean is not known but estimated, which the power instead of a logarithm makes up for (a Lomax distribution).

    Args:
        healthy: [n], logits of healthy networks that were strangers.
        false_alarms: The share of healthy networks that may be called trojaned, above 0 and below 1.

    Raises:
        ZoovetError: The share is none, or there are no healthy networks.
    """
    if not 0 < false_alarms < 1:
        raise ZoovetError(f"a rate of false alarms must lie between 0 and 1, got {false_alarms:g}")
    count = len(healthy)
    if count == 0:
        raise ZoovetError("a threshold needs healthy networks, got none")
    ordered = healthy.double().sort().values
    rank = math.ceil((count + 1) * (1 - false_alarms))
    if rank <= count:
        return math.nextafter(float(ordered[rank - 1]), math.inf)
    beyond = max(1, round(_TAIL_SHARE * count))
    start = float(ordered[-beyond - 1]) if beyond < count else float(ordered[0])
    total_excess = float((ordered[-beyond:] - start).sum())
    grown = math.pow(beyond / count / false_alarms, 1 / beyond) - 1
    return max(float(ordered[-1]), start + total_excess * grown)
