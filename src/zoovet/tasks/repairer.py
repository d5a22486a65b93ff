"""Repairer: a trained editor that makes triggers stop working, without images. Needs neither Lightning nor a zoo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch
from torch import nn

from zoovet.networks import Networks, NetworkSpec
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.tasks.editor import Editor
from zoovet.tasks.metanetworks import MetanetworkConfig, build_metanetwork, metanetwork_from_json
from zoovet.tasks.vetting import as_batches, require_known_specs, specs_of

__all__ = ["REPAIRER", "Repairer", "build_editor", "edited_networks"]

REPAIRER = "repairer"
"""The kind that its checkpoints name."""


class Repairer:
    """A trained editor: networks in, networks whose triggers should no longer work out.

    Args:
        editor: What edits.
        specs: What it was trained on.
        description: What its checkpoint says of it: configuration, validation figures, zoo, versions.

    Attributes:
        editor, specs, description: As given; the editor in evaluation mode.
    """

    def __init__(self, editor: Editor, specs: Sequence[NetworkSpec], description: dict[str, Any] | None = None) -> None:
        self.editor = editor.eval().requires_grad_(False)
        self.specs = tuple(specs)
        self.description = description or {}

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> Repairer:
        """Read a repairer from a run's folder or its checkpoint file; no code in it is run.

        Raises:
            ZoovetError: It is missing, damaged, or no repairer.
        """
        checkpoint = load_checkpoint(path, REPAIRER)
        where, gate = str(checkpoint.path), checkpoint.get("gate")
        editor = build_editor(
            metanetwork_from_json(checkpoint.get("metanetwork"), where),
            None if gate is None else metanetwork_from_json(gate, where),
            seed=0,
        )
        checkpoint.load_into(editor)
        return cls(editor.to(device), specs_of(checkpoint), checkpoint.description)

    @overload
    def repair(self, networks: Networks, *, batch_size: int = 64) -> Networks: ...

    @overload
    def repair(self, networks: Sequence[Networks], *, batch_size: int = 64) -> list[Networks]: ...

    def repair(self, networks: Networks | Sequence[Networks], *, batch_size: int = 64) -> Networks | list[Networks]:
        """Edited networks; those given are left as they are.

        Args:
            networks: B networks, or batches of several specs.
            batch_size: Networks that go through the metanetwork at a time.

        Returns:
            As many networks as given, in the same order, form, precision and place, without gradients.

        Raises:
            ZoovetError: Networks of a spec it was not trained on, or with NaN or infinite weights.
        """
        batches = as_batches(networks)
        require_known_specs(batches, self.specs, REPAIRER)
        device = next(self.editor.parameters()).device
        with torch.no_grad():
            edited = edited_networks(self.editor, [batch.to(device, torch.float32) for batch in batches], batch_size)
        repaired = [some.to(own.device, own.dtype) for some, own in zip(edited, batches, strict=True)]
        return repaired[0] if isinstance(networks, Networks) else repaired


def build_editor(metanetwork: MetanetworkConfig, gate: MetanetworkConfig | None, seed: int) -> Editor:
    """An editor whose initial weights depend on the seed alone."""
    changes = build_metanetwork(metanetwork, seed, REPAIRER)
    return Editor(changes, None if gate is None else build_metanetwork(gate, seed, "gate"))


def edited_networks(model: nn.Module, batches: Sequence[Networks], batch_size: int) -> list[Networks]:
    """Every batch edited, a piece at a time."""
    edited = []
    for batch in batches:
        pieces = [batch[start : start + batch_size] for start in range(0, len(batch), batch_size)]
        edited.append(Networks.concatenate([model([piece]).edited[0] for piece in pieces]) if pieces else batch)
    return edited
