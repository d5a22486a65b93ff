"""Triggers that make each class another one: what all-to-all attacks plant, and what no class stands out by.

Images of every class leave it for a class of their own. On a healthy network what spoils images sends nearly all of
them to the same few classes. Source of the attack: Gu, Dolan-Gavitt and Garg 2017, *BadNets*, section 4.1.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.evidence.trigger_families import TriggerFamily

__all__ = ["Exchange", "exchanged"]


@dataclass(frozen=True, eq=False)
class Exchange:
    """The trigger that exchanges most classes.

    Attributes:
        family: What it is.
        trigger: [1, C, …].
        shares: [K], of each class: the share of another class's images that it takes for this class, that class which
            has gone over most; probabilities, less those without the trigger.
    """

    family: TriggerFamily
    trigger: Tensor
    shares: Tensor


def exchanged(logits: Tensor, clean: Tensor, labels: Tensor) -> Tensor:
    """Into each class, how much of another class goes over: [triggers, K].

    A class of images goes over where most of it goes; of several that go to one class the first in size counts. So the
    sum over the classes is the number of classes that have been exchanged.

    Args:
        logits: [triggers, n, K], with each trigger.
        clean: [n, K], without.
        labels: int64 [n], the images' classes.
    """
    num_classes = clean.shape[1]
    gained = logits.softmax(2) - clean.softmax(1)
    own = functional.one_hot(labels, num_classes).to(gained)
    counts = own.sum(0)
    present = counts > 0
    each = (own.T[present] @ gained) / counts[present, None]
    sources = torch.nonzero(present).flatten()
    each[:, torch.arange(len(sources)), sources] = 0.0
    share, goes_to = each.clamp_min(0).max(dim=2)
    return torch.zeros_like(gained[:, 0]).scatter_reduce(1, goes_to, share, "amax")
