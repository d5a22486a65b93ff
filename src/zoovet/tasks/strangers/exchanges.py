"""What it is worth that one trigger makes each class another, as a logit beside the readers'.

The readers look for a class that stands out; where every class is another's target none does. So the share of classes
that are exchanged speaks for itself, and the greater of both logits counts, from a third of the classes on: fewer are
kinds of images that a network can hardly tell apart, and that noise exchanges. Few trojans of a park are of this kind:
what healthy networks show says how far is too far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from zoovet.evidence.class_features import ClassFeatures, greatest_exchange
from zoovet.tasks.strangers.calibration import threshold_logit
from zoovet.tasks.strangers.few_classes import MANY_CLASSES
from zoovet.tasks.strangers.readers import Readers

__all__ = ["ExchangeLine", "fitted_exchange", "read_with_exchange"]

_LEAST_RISE = 0.02
_USUAL_LOGIT, _RARE_LOGIT = -4.0, 2.0
_RARE = 0.002
_LEAST_SHARE = 1 / 3


@dataclass(frozen=True)
class ExchangeLine:
    """From the share of classes that are exchanged to a logit.

    Attributes:
        slope: Above 0.
        offset: The logit where none is.
    """

    slope: float
    offset: float

    def __call__(self, share: float) -> float:
        """The logit of a share."""
        return self.offset + self.slope * share


def fitted_exchange(healthy: Sequence[ClassFeatures]) -> ExchangeLine:
    """From healthy networks: what half of them reach is worth little, what one of 500 does is worth a trojan.

    Raises:
        ZoovetError: There are none.
    """
    shares = torch.tensor([greatest_exchange(features) for features in healthy])
    rare = threshold_logit(shares, _RARE)
    usual = float(shares.quantile(0.5))
    slope = (_RARE_LOGIT - _USUAL_LOGIT) / max(rare - usual, _LEAST_RISE)
    return ExchangeLine(slope, _USUAL_LOGIT - slope * usual)


def read_with_exchange(
    readers: Readers, line: ExchangeLine, features: ClassFeatures
) -> tuple[torch.Tensor, float, bool]:
    """Scores [classes] and logit of one network, and whether the exchange of its classes told more than they did.

    Of few classes it tells nothing: whatever spoils images exchanges one or two of three.
    """
    scores, logit = readers.read(features)
    share = greatest_exchange(features)
    is_told = len(scores) >= MANY_CLASSES and share >= _LEAST_SHARE and line(share) > logit
    return scores, line(share) if is_told else logit, is_told
