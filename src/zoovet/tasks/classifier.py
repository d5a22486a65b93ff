"""Classifier: a trained metanetwork that says what a SIREN's picture shows. Needs neither Lightning nor a zoo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.networks import Graph, Networks
from zoovet.symmetry import canonicalize
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.tasks.metanetworks import build_in_units, metanetwork_from_json
from zoovet.tasks.vetting import as_batches, graphs_of, require_finite_answers, require_known_graphs

__all__ = ["CLASSIFIER", "Classifier", "class_logits"]

CLASSIFIER = "classifier"
"""The kind that its checkpoints name."""


class Classifier:
    """A trained metanetwork that gives a network's class, such as that of the image a SIREN shows.

    Args:
        metanetwork: From a list of networks to [B, C] logits.
        graphs: What it was trained on.
        canonicalized: Whether it reads networks with their phases canonicalized; it does so itself.
        description: What its checkpoint says of it: configuration, validation figures, zoo, versions.

    Attributes:
        metanetwork, graphs, canonicalized, description: As given; the metanetwork in evaluation mode.
    """

    def __init__(
        self,
        metanetwork: nn.Module,
        graphs: Sequence[Graph],
        *,
        canonicalized: bool = False,
        description: dict[str, Any] | None = None,
    ) -> None:
        self.metanetwork = metanetwork.eval().requires_grad_(False)
        self.graphs = tuple(graphs)
        self.canonicalized = canonicalized
        self.description = description or {}

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> Classifier:
        """Read a classifier from a run's folder or its checkpoint file; no code in it is run.

        Raises:
            ZoovetError: It is missing, damaged, or no classifier.
        """
        checkpoint = load_checkpoint(path, CLASSIFIER)
        config = metanetwork_from_json(checkpoint.get("metanetwork"), str(checkpoint.path))
        graphs = graphs_of(checkpoint)
        metanetwork = build_in_units(config, graphs, checkpoint.description.get("layer_units", False), 0, CLASSIFIER)
        checkpoint.load_into(metanetwork)
        return cls(
            metanetwork.to(device),
            graphs,
            canonicalized=bool(checkpoint.get("canonicalized")),
            description=checkpoint.description,
        )

    def predict(self, networks: Networks | Sequence[Networks], *, batch_size: int = 64) -> Tensor:
        """Logits of the classes.

        Args:
            networks: B networks, or batches of several graphs.
            batch_size: Networks that go through the metanetwork at a time.

        Returns:
            float32 [B, C] on the CPU, in the order of the networks.

        Raises:
            ZoovetError: Networks of a graph it was not trained on, or with NaN or infinite weights or logits.
        """
        batches = as_batches(networks)
        require_known_graphs(batches, self.graphs, CLASSIFIER)
        device = next(self.metanetwork.parameters()).device
        batches = [batch.detach().to(device, torch.float32) for batch in batches]
        if self.canonicalized:
            batches = [canonicalize(batch) for batch in batches]
        with torch.inference_mode():
            return require_finite_answers(class_logits(self.metanetwork, batches, batch_size).cpu(), CLASSIFIER)


def class_logits(model: nn.Module, batches: Sequence[Networks], batch_size: int) -> Tensor:
    """[B, C] logits, a piece at a time."""
    pieces = [batch[start : start + batch_size] for batch in batches for start in range(0, len(batch), batch_size)]
    return torch.cat([model([piece]) for piece in pieces])
