"""Several metanetworks of one configuration and different initial weights, read as one: the mean of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.metanets.inversion import Inversion
from zoovet.metanets.scalegmn import ScaleGMN
from zoovet.networks import Networks

__all__ = ["Ensemble", "inversion_of", "outputs_of_members"]


class Ensemble(nn.Module):
    """The mean of its members' outputs. Equivariant where they are.

    Source: Lakshminarayanan, Pritzel and Blundell 2017, *Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles*, section 2.4 (without its adversarial training).

    Args:
        members: At least one, each from networks to [B, outputs]. All use the first one's inversion, which is run
            once; theirs are dropped.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        for member in members[1:]:
            if isinstance(member, ScaleGMN):
                member.share_inversion(self.inversion)

    @property
    def inversion(self) -> Inversion | None:
        """What all members take their inversions from."""
        return inversion_of(self.members[0])

    def outputs(
        self, networks: Networks | Sequence[Networks], *, inverted: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Each member's outputs, [B, outputs]; arguments as for :meth:`forward`."""
        parts = [networks] if isinstance(networks, Networks) else list(networks)
        if inverted is None and self.inversion is not None:
            inverted = [self.inversion(part) for part in parts]
        options = {} if inverted is None else {"inverted": inverted}
        return [member(parts, **options) for member in self.members]

    def forward(self, networks: Networks | Sequence[Networks], *, inverted: Sequence[Tensor] | None = None) -> Tensor:
        """The members' mean, [B, outputs].

        Args:
            networks: B networks, or batches of several specs.
            inverted: What the inversion gave for these networks, where it is to be computed once and used often.
        """
        return torch.stack(self.outputs(networks, inverted=inverted)).mean(dim=0)


def inversion_of(metanetwork: nn.Module) -> Inversion | None:
    """What a metanetwork seeks in the networks that it reads; ``None`` where it seeks nothing."""
    return metanetwork.inversion if isinstance(metanetwork, ScaleGMN | Ensemble) else None


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
