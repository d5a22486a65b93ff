"""Editor: a metanetwork that changes weights, possibly one that says by how much, and a refit of the last layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoovet.evidence import Evidence
from zoovet.networks import Networks
from zoovet.tasks.last_layer_refit import LastLayerRefit

__all__ = ["Edit", "Editor"]


@dataclass(frozen=True, eq=False)
class Edit:
    """What an editor makes of some networks.

    Attributes:
        edited: Own weights plus change, one entry a batch given.
        gate_logits: [B] how sure the gate is that a network needs its change, or ``None`` without a gate.
    """

    edited: list[Networks]
    gate_logits: Tensor | None


class Editor(nn.Module):
    """Networks in, edited networks out: own weights + strength · gate · change, then the last layer refitted.

    With metanetworks that are equivariant (the change) and invariant (the gate), editing commutes with every symmetry
    of the networks.

    Args:
        changes: From a list of networks to a list of changes of their weights.
        gate: From a list of networks to [B, 1] logits; each network's change is multiplied by their sigmoid.
            ``None`` applies every change in full.
        refit: What fits the last layer anew after the change; ``None`` leaves it as it is.

    Attributes:
        strength: Factor of every change; 1 while it is trained.
    """

    def __init__(self, changes: nn.Module, gate: nn.Module | None = None, refit: LastLayerRefit | None = None) -> None:
        super().__init__()
        self.changes = changes
        self.gate = gate
        self.refit = refit
        self.strength = 1.0

    def forward(self, networks: Sequence[Networks], evidence: Sequence[Evidence] | None = None) -> Edit:
        """Edit batches of networks, each of one graph; ``evidence``: theirs, where it is known."""
        edit = self.changed(networks, evidence)
        return Edit(self.refitted(edit.edited), edit.gate_logits)

    def refitted(self, networks: Sequence[Networks]) -> list[Networks]:
        """Changed networks after the refit, where there is one."""
        return [own if self.refit is None else self.refit(own) for own in networks]

    def changed(self, networks: Sequence[Networks], evidence: Sequence[Evidence] | None = None) -> Edit:
        """The edit without the refit: what commutes with views of networks that turn the images they read, too."""
        batches = list(networks)
        options = {} if evidence is None else {"evidence": evidence}
        changes: list[Networks] = self.changes(batches, **options)
        if self.strength != 1:
            changes = [change.map(lambda tensor: self.strength * tensor) for change in changes]
        if self.gate is None:
            return Edit([own + change for own, change in zip(batches, changes, strict=True)], None)
        logits: Tensor = self.gate(batches).squeeze(1)
        gates = torch.split(torch.sigmoid(logits), [len(own) for own in batches])
        edited = [own + _scaled(change, gate) for own, change, gate in zip(batches, changes, gates, strict=True)]
        return Edit(edited, logits)


def _scaled(change: Networks, factors: Tensor) -> Networks:
    """Each network's change times its factor [B]."""
    return change.map(lambda tensor: tensor * factors.reshape(-1, *(1 for _ in tensor.shape[1:])))
