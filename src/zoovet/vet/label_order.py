"""Which outputs of a network labels mean: their own numbers, or others, as where class folders are sorted by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom
from torch import Tensor

__all__ = ["above_chance", "label_order", "order_of_the_best"]

_CHANCE = 0.001


def above_chance(taken: Tensor, labels: Tensor, num_outputs: int) -> bool:
    """Whether more is right than would be if answers had nothing to do with the labels (binomial test, 0.1 %).

    Args:
        taken: int64 [N], what the network answers.
        labels: int64 [N].
        num_outputs: Of the network.
    """
    count = max(int(labels.max()), int(taken.max()), num_outputs - 1) + 1
    shares = [one.bincount(minlength=count).double() / len(labels) for one in (taken, labels)]
    num_right = int((taken == labels).sum())
    return float(binom.sf(num_right - 1, len(labels), float(shares[0] @ shares[1]))) < _CHANCE


def label_order(taken: Tensor, said: Tensor, num_outputs: int) -> Tensor | None:
    """The output that each label means, int64 [labels], -1 where no image has it; ``None`` where they mean themselves.

    The order is that under which most of one half of the images are taken for what their labels mean, no two labels
    meaning the same; on the other half answers must follow it beyond chance. Where they follow the labels as they are
    beyond chance as well, they must follow the order clearly more (sign test, one-sided, 0.1 %). Where they do not,
    each label must mean what most of its images are taken for: images of another kind are taken for few classes.

    Args:
        taken: int64 [N], what the network answers.
        said: int64 [N], labels.
        num_outputs: Of the network.
    """
    occurring = said.unique()
    if len(occurring) < 2 or len(occurring) > num_outputs:
        return None
    is_first = torch.zeros(len(said), dtype=torch.bool)
    for label in occurring.tolist():
        own = torch.nonzero(said == label).flatten()
        is_first[own[: (len(own) + 1) // 2]] = True
    if bool(is_first.all()):
        return None
    counts = torch.zeros(int(said.max()) + 1, num_outputs, dtype=torch.long)
    counts.index_put_((said[is_first], taken[is_first]), torch.tensor(1), accumulate=True)
    _, outputs = linear_sum_assignment(counts[occurring].numpy(), maximize=True)
    order = torch.full((len(counts),), -1)
    order[occurring] = torch.from_numpy(outputs)
    answers, labels = taken[~is_first], said[~is_first]
    by_order, as_said = answers == order[labels], answers == labels
    gained, lost = int((by_order & ~as_said).sum()), int((as_said & ~by_order).sum())
    if above_chance(taken, said, num_outputs):
        is_clear = gained > lost and float(binom.sf(gained - 1, gained + lost, 0.5)) < _CHANCE
    else:
        is_clear = counts[occurring].argmax(1).equal(order[occurring])
    return order if is_clear and above_chance(answers, order[labels], num_outputs) else None


def order_of_the_best(answers: Mapping[str, Tensor], said: Tensor) -> Tensor | None:
    """The order under which most is right in any of several ways to read a network; ``None`` where the labels' own is.

    Args:
        answers: A way → what the network answers, [N, classes].
        said: int64 [N], labels.
    """
    best, most = None, max(int((logits.argmax(1) == said).sum()) for logits in answers.values())
    for logits in answers.values():
        taken = logits.argmax(1)
        order = label_order(taken, said, logits.shape[1])
        if order is not None and (right := int((taken == order[said]).sum())) > most:
            best, most = order, right
    return best
