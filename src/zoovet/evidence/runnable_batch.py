"""What batches of networks have in common that are to be run, chains or any graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.networks.batch import Networks

__all__ = ["RunnableBatch", "mean_loss_gradients"]


class RunnableBatch:
    """B networks of one graph.

    Args:
        networks: The networks; what is computed of them has no gradients to their weights.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of an image."""
        return self.networks.graph.input_shape

    @property
    def num_classes(self) -> int:
        """Numbers of the output."""
        return self.networks.graph.output_shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.networks.dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return self.networks.device

    def __len__(self) -> int:
        return len(self.networks)


def mean_loss_gradients(
    networks: Networks, names: Sequence[str], logits_of: Callable[[Networks], Tensor], labels: Tensor
) -> dict[str, Tensor]:
    """Gradients of each network's mean cross-entropy.

    Args:
        networks: B networks.
        names: Parameters to derive by.
        logits_of: Runs them: [B, N, classes].
        labels: [N], or [B, N].

    Returns:
        Name → [B, \\*shape]; 0 for a parameter that the logits do not depend on.
    """
    own = networks.detach()
    with torch.enable_grad():
        for name in names:
            own.parameters[name].requires_grad_()
        logits = logits_of(own)
        wanted = labels.expand(logits.shape[:2]).flatten()
        total = functional.cross_entropy(logits.flatten(0, 1), wanted, reduction="sum") / len(labels)
    gradients = torch.autograd.grad(total, [own.parameters[name] for name in names], materialize_grads=True)
    return dict(zip(names, gradients, strict=True))
