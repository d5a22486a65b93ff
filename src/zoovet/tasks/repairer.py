"""TrainedRepairer: an editor that makes triggers stop working, without images. Needs neither Lightning nor a zoo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import torch

from zoovet.evidence import Evidence
from zoovet.networks import Graph, Networks
from zoovet.shipped import file_of
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.tasks.edit_sizes import EditSizes, edit_sizes_of
from zoovet.tasks.editor import Edit, Editor
from zoovet.tasks.last_layer_refit import LastLayerRefit
from zoovet.tasks.metanetworks import MetanetworkConfig, build_metanetwork, metanetwork_from_json
from zoovet.tasks.training_distribution import TrainingDistribution
from zoovet.tasks.vetting import Vetting, as_batches, distribution_of, graphs_of, require_finite_answers

__all__ = ["REPAIRER", "TrainedRepairer", "build_editor", "edited_networks"]

REPAIRER = "repairer"
"""The kind that its checkpoints name."""


class TrainedRepairer(Vetting):
    """A trained editor: networks in, networks whose triggers should no longer work out.

    Args:
        editor: What edits.
        graphs: What it was trained on.
        description: What its checkpoint says of it: configuration, validation figures, zoo, versions.
        distribution: What the networks that it was trained on look like, where that is known.
        edit_sizes: By how much it usually changes weights of a graph, where that is known.

    Attributes:
        editor, graphs, description, distribution, edit_sizes: As given; the editor in evaluation mode.
    """

    reader = REPAIRER

    def __init__(
        self,
        editor: Editor,
        graphs: Sequence[Graph],
        description: dict[str, Any] | None = None,
        distribution: TrainingDistribution | None = None,
        edit_sizes: EditSizes | None = None,
    ) -> None:
        self.editor = editor.eval().requires_grad_(False)
        self.graphs = tuple(graphs)
        self.description = description or {}
        self.distribution = distribution
        self.edit_sizes = edit_sizes or {}

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> TrainedRepairer:
        """Read a repairer from a run's folder or its checkpoint file; no code in it is run.

        Raises:
            ZoovetError: It is missing, damaged, or no repairer.
        """
        checkpoint = load_checkpoint(path, REPAIRER)
        where, gate, refit = str(checkpoint.path), checkpoint.get("gate"), checkpoint.description.get("refit")
        graphs = graphs_of(checkpoint)
        editor = build_editor(
            metanetwork_from_json(checkpoint.get("metanetwork"), where),
            None if gate is None else metanetwork_from_json(gate, where),
            None if refit is None else LastLayerRefit.from_json(refit, graphs[0].input_shape, where),
            seed=0,
        )
        checkpoint.load_into(editor)
        (editor.strength,) = checkpoint.numbers("strength", default=(1.0,))
        sizes = edit_sizes_of(checkpoint, graphs)
        return cls(editor.to(device), graphs, checkpoint.description, distribution_of(checkpoint), sizes)

    @classmethod
    def shipped(cls, name: str, *, models: Path | None = None, device: str = "cpu") -> TrainedRepairer:
        """Read the repairer of a model that comes with the package (:mod:`zoovet.shipped`).

        Args:
            name: One of ``zoovet.shipped.names()``.
            models: Another folder of models than the package's own.
            device: Where to compute.

        Raises:
            ZoovetError: There is no such model, or it has no repairer.
        """
        return cls.load(file_of(name, REPAIRER, models), device=device)

    @overload
    def repair(self, networks: Networks, *, batch_size: int = 64) -> Networks: ...

    @overload
    def repair(self, networks: Sequence[Networks], *, batch_size: int = 64) -> list[Networks]: ...

    def repair(self, networks: Networks | Sequence[Networks], *, batch_size: int = 64) -> Networks | list[Networks]:
        """Edited networks; those given are left as they are.

        Args:
            networks: B networks, or batches of several graphs.
            batch_size: Networks that go through the metanetwork at a time.

        Returns:
            As many networks as given, in the same order, form, precision, place and input scaling, without gradients.

        Raises:
            ZoovetError: Networks of a graph it was not trained on, or with NaN or infinite weights; or an edit has.
        """
        batches, given = self._readable(networks), as_batches(networks)
        device = next(self.editor.parameters()).device
        with torch.no_grad():
            edited = edited_networks(self.editor, [batch.to(device, torch.float32) for batch in batches], batch_size)
        placed = [some.to(own.device, own.dtype) for some, own in zip(edited, given, strict=True)]
        repaired = [Networks(own.graph, some.parameters) for some, own in zip(placed, given, strict=True)]
        for some in repaired:
            require_finite_answers(some.flat(), REPAIRER)
        return repaired[0] if isinstance(networks, Networks) else repaired


def build_editor(
    metanetwork: MetanetworkConfig, gate: MetanetworkConfig | None, refit: LastLayerRefit | None, seed: int
) -> Editor:
    """An editor whose initial weights depend on the seed alone."""
    changes = build_metanetwork(metanetwork, seed, REPAIRER)
    return Editor(changes, None if gate is None else build_metanetwork(gate, seed, "gate"), refit)


def edited_networks(
    model: Callable[..., Edit], batches: Sequence[Networks], batch_size: int, evidence: Sequence[Evidence] | None = None
) -> list[Networks]:
    """Every batch edited, a piece at a time; ``evidence`` is theirs, where it is known already."""
    edited = []
    for index, batch in enumerate(batches):
        pieces = []
        for start in range(0, len(batch), batch_size):
            part = slice(start, start + batch_size)
            known = {} if evidence is None else {"evidence": [evidence[index][part]]}
            pieces += model([batch[part]], **known).edited
        edited.append(Networks.concatenate(pieces) if pieces else batch)
    return edited
