"""InrEditor: a trained metanetwork that edits the pictures of SIRENs. Needs neither Lightning nor a zoo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch

from zoovet.networks import Graph, Networks
from zoovet.symmetry import canonicalize
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.tasks.editor import Editor
from zoovet.tasks.metanetworks import build_in_units, metanetwork_from_json
from zoovet.tasks.repairer import edited_networks
from zoovet.tasks.vetting import as_batches, graphs_of, require_finite_answers, require_known_graphs

__all__ = ["INR_EDITOR", "InrEditor"]

INR_EDITOR = "inr_editor"
"""The kind that its checkpoints name."""


class InrEditor:
    """A trained editor: SIRENs in, SIRENs that show the edited pictures out.

    Args:
        editor: What edits.
        graphs: What it was trained on.
        canonicalized: Whether it edits networks whose phases are canonicalized; it canonicalizes them itself.
        description: What its checkpoint says of it: configuration, validation figures, zoo, versions.

    Attributes:
        editor, graphs, canonicalized, description: As given; the editor in evaluation mode.
    """

    def __init__(
        self,
        editor: Editor,
        graphs: Sequence[Graph],
        *,
        canonicalized: bool = False,
        description: dict[str, Any] | None = None,
    ) -> None:
        self.editor = editor.eval().requires_grad_(False)
        self.graphs = tuple(graphs)
        self.canonicalized = canonicalized
        self.description = description or {}

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> InrEditor:
        """Read an editor from a run's folder or its checkpoint file; no code in it is run.

        Raises:
            ZoovetError: It is missing, damaged, or no editor of INRs.
        """
        checkpoint = load_checkpoint(path, INR_EDITOR)
        config = metanetwork_from_json(checkpoint.get("metanetwork"), str(checkpoint.path))
        graphs = graphs_of(checkpoint)
        editor = Editor(build_in_units(config, graphs, checkpoint.description.get("layer_units", False), 0, INR_EDITOR))
        checkpoint.load_into(editor)
        return cls(
            editor.to(device),
            graphs,
            canonicalized=bool(checkpoint.get("canonicalized")),
            description=checkpoint.description,
        )

    @overload
    def edit(self, networks: Networks, *, batch_size: int = 64) -> Networks: ...

    @overload
    def edit(self, networks: Sequence[Networks], *, batch_size: int = 64) -> list[Networks]: ...

    def edit(self, networks: Networks | Sequence[Networks], *, batch_size: int = 64) -> Networks | list[Networks]:
        """Networks of the edited pictures: own weights plus change; those given are left as they are.

        Args:
            networks: B networks, or batches of several graphs.
            batch_size: Networks that go through the metanetwork at a time.

        Returns:
            As many networks as given, in the same order, form, precision and place, without gradients. Where the editor
            canonicalizes, the change is added to the canonical weights, whose picture is the same.

        Raises:
            ZoovetError: Networks of a graph it was not trained on, or with NaN or infinite weights or edits.
        """
        batches = as_batches(networks)
        require_known_graphs(batches, self.graphs, "editor of INRs")
        device = next(self.editor.parameters()).device
        given = [batch.detach().to(device, torch.float32) for batch in batches]
        if self.canonicalized:
            given = [canonicalize(batch) for batch in given]
        with torch.no_grad():
            changed = edited_networks(self.editor, given, batch_size)
        for some in changed:
            require_finite_answers(some.flat(), "editor of INRs")
        edited = [some.to(own.device, own.dtype) for some, own in zip(changed, batches, strict=True)]
        return edited[0] if isinstance(networks, Networks) else edited
