"""AccuracyPredictor: a trained metanetwork that says how accurate a network is on test images, from its weights alone.

Needs no Lightning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.config import read_config
from zoovet.networks import Graph, Networks
from zoovet.tasks.accuracy_data import AccuracyData
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.tasks.detector import logits_of
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_from_json
from zoovet.tasks.vetting import as_batches, graphs_of, require_finite_answers, require_known_graphs

__all__ = ["ACCURACY_PREDICTOR", "AccuracyPredictor"]

ACCURACY_PREDICTOR = "accuracy_predictor"
"""The kind that its checkpoints name."""


class AccuracyPredictor:
    """A trained metanetwork that gives a network its accuracy on test images.

    Args:
        metanetwork: From a list of networks to [B, 1] logits of the accuracies.
        graphs: What it was trained on.
        data: Which networks of its zoo count: what it was trained on, and what it is to be measured on.
        description: What its checkpoint says of it: configuration, validation figures, zoo, versions.

    Attributes:
        metanetwork, graphs, data, description: As given; the metanetwork in evaluation mode.
    """

    def __init__(
        self,
        metanetwork: nn.Module,
        graphs: Sequence[Graph],
        data: AccuracyData | None = None,
        description: dict[str, Any] | None = None,
    ) -> None:
        self.metanetwork = metanetwork.eval().requires_grad_(False)
        self.graphs = tuple(graphs)
        self.data = data or AccuracyData()
        self.description = description or {}

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> AccuracyPredictor:
        """Read a predictor from a run's folder or its checkpoint file; no code in it is run.

        Raises:
            ZoovetError: It is missing, damaged, or no accuracy predictor.
        """
        checkpoint = load_checkpoint(path, ACCURACY_PREDICTOR)
        config = metanetwork_from_json(checkpoint.get("metanetwork"), str(checkpoint.path))
        metanetwork = build_metanetwork(config, 0, ACCURACY_PREDICTOR)
        checkpoint.load_into(metanetwork)
        data = read_config(AccuracyData, checkpoint.get("networks"), where=str(checkpoint.path))
        return cls(metanetwork.to(device), graphs_of(checkpoint), data, checkpoint.description)

    def predict(self, networks: Networks | Sequence[Networks], *, batch_size: int = 64) -> Tensor:
        """Accuracies on the test images of the dataset that its training networks were measured on.

        Args:
            networks: B networks, or batches of several graphs.
            batch_size: Networks that go through the metanetwork at a time.

        Returns:
            float32 [B] in [0, 1] on the CPU, in the order of the networks.

        Raises:
            ZoovetError: Networks of a graph it was not trained on, or with NaN or infinite weights or predictions.
        """
        batches = as_batches(networks)
        require_known_graphs(batches, self.graphs, "accuracy predictor")
        device = next(self.metanetwork.parameters()).device
        batches = [batch.detach().to(device, torch.float32) for batch in batches]
        with torch.inference_mode():
            predicted = torch.sigmoid(logits_of(self.metanetwork, batches, batch_size)).cpu()
        return require_finite_answers(predicted, "accuracy predictor")
