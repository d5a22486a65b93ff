"""Several metanetworks of one configuration and different initial weights, read as one: the mean of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.networks import Networks

__all__ = ["Ensemble", "outputs_of_members"]


class Ensemble(nn.Module):
    """The mean of its members' outputs. Equivariant where they are.

    Source: Lakshminarayanan, Pritzel and Blundell 2017, *Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles*, section 2.4 (without its adversarial training).

    Args:
        members: At least one, each from networks to [B, outputs]; all read the same evidence.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def outputs(self, networks: Networks | Sequence[Networks], **options: Any) -> list[Tensor]:
        """Each member's outputs, [B, outputs]; arguments as for :meth:`forward`."""
        return [member(networks, **options) for member in self.members]

    def forward(self, networks: Networks | Sequence[Networks], **options: Any) -> Tensor:
        """The members' mean, [B, outputs].

        Args:
            networks: B networks, or batches of several graphs.
            options: Further arguments of each member's call, as evidence.
        """
        return torch.stack(self.outputs(networks, **options)).mean(dim=0)


def outputs_of_members(metanetwork: nn.Module, networks: Sequence[Networks], **options: Any) -> Tensor:
    """What each member says, by which each is trained: [members, B, outputs]; one that has none is its own only member.

    Args:
        metanetwork: From a list of networks to [B, outputs].
        networks: Batches of networks.
        options: Further arguments of its call.
    """
    if isinstance(metanetwork, Ensemble):
        return torch.stack(metanetwork.outputs(networks, **options))
    output: Tensor = metanetwork(networks, **options)
    return output.unsqueeze(0)
