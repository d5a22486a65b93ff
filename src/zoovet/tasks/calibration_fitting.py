"""What a detector's logits are worth, fitted on validation networks: a threshold, and a line to probabilities."""

from __future__ import annotations

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from zoovet.tasks.calibration import Calibration

__all__ = ["accuracy_threshold", "fit_calibration"]


def accuracy_threshold(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """The threshold of the highest accuracy when ``score >= threshold`` means trojaned, and that accuracy.

    It lies midway between two neighbouring scores (or at the ends: the lowest score, or just above the highest); of
    several equally good ones the one in the widest gap is taken.

    Args:
        scores: float32 [n], finite, of validation networks.
        labels: bool [n].
    """
    distinct, place = torch.unique(scores, return_inverse=True)
    num_trojaned = torch.bincount(place[labels], minlength=len(distinct))
    num_healthy = torch.bincount(place[~labels], minlength=len(distinct))
    # cut k flags the distinct scores k, k + 1, …
    right = functional.pad(num_healthy.cumsum(0), (1, 0)) + functional.pad(
        num_trojaned.flip(0).cumsum(0).flip(0), (0, 1)
    )
    middles = (distinct[:-1] + distinct[1:]) / 2
    middles = torch.where(middles > distinct[:-1], middles, distinct[1:])  # neighbouring floats have no middle
    cuts = torch.cat([distinct[:1], middles, torch.nextafter(distinct[-1:], torch.tensor(torch.inf))])
    gaps = functional.pad(distinct.diff(), (1, 1))
    best = torch.nonzero(right == right.max()).flatten()
    chosen = best[torch.argmax(gaps[best])]
    return float(cuts[chosen]), float(right[chosen]) / len(scores)


def fit_calibration(logits: Tensor, labels: Tensor) -> Calibration:
    """The line of the highest likelihood on validation networks.

    Labels are moved towards one half by as much as their number says, so that a detector that makes no error on few
    networks does not claim certainty. Where the best line would turn the order around, none is drawn.

    Source: Platt 1999, *Probabilistic Outputs for Support Vector Machines*, section 2.2.

    Args:
        logits: float32 [n], finite.
        labels: bool [n], both kinds.
    """
    num_trojaned, num_healthy = int(labels.sum()), int((~labels).sum())
    high, low = (num_trojaned + 1) / (num_trojaned + 2), 1 / (num_healthy + 2)
    targets = torch.where(labels, high, low).double()
    twice = torch.cat([logits, logits]).double()[:, None].numpy()
    wanted = torch.cat([torch.ones(len(labels)), torch.zeros(len(labels))]).numpy()
    weights = torch.cat([targets, 1 - targets]).numpy()
    line = LogisticRegression(C=1e6).fit(twice, wanted, sample_weight=weights)
    scale, shift = float(line.coef_[0, 0]), float(line.intercept_[0])
    return Calibration(scale, shift) if scale > 0 else Calibration()
