"""Detector: a trained metanetwork that says how likely a network is trojaned. Needs neither Lightning nor a zoo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.evidence import Evidence
from zoovet.networks import Graph, Networks
from zoovet.printable import printable
from zoovet.shipped import file_of
from zoovet.tasks.calibration import Calibration
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.tasks.evidence_reader import inversion_of
from zoovet.tasks.inversion_memory import InversionMemory
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_from_json
from zoovet.tasks.training_distribution import TrainingDistribution
from zoovet.tasks.vetting import Vetting, distribution_of, graphs_of

__all__ = ["DETECTOR", "Detector", "logits_of"]

DETECTOR = "detector"
"""The kind that its checkpoints name."""

_MAX_THRESHOLD = 1 + torch.finfo(torch.float32).eps
"""Just above the highest probability: where flagging nothing was best."""


class Detector(Vetting):
    """A trained metanetwork that gives a network its probability of being trojaned.

    Args:
        metanetwork: From a list of networks to [B, 1] logits.
        graphs: What it was trained on.
        threshold: Probability from which a network is flagged; chosen on validation networks.
        description: What its checkpoint says of it: configuration, validation figures, zoo, versions.
        distribution: What the networks that it was trained on look like, where that is known.
        calibration: From logits to probabilities.

    Attributes:
        metanetwork, graphs, threshold, description, distribution, calibration: As given; the metanetwork in evaluation
            mode.
    """

    reader = DETECTOR

    def __init__(
        self,
        metanetwork: nn.Module,
        graphs: Sequence[Graph],
        threshold: float,
        description: dict[str, Any] | None = None,
        distribution: TrainingDistribution | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.metanetwork = metanetwork.eval().requires_grad_(False)
        self.graphs = tuple(graphs)
        self.threshold = threshold
        self.description = description or {}
        self.distribution = distribution
        self.calibration = calibration or Calibration()

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> Detector:
        """Read a detector from a run's folder or its checkpoint file; no code in it is run.

        Raises:
            ZoovetError: It is missing, damaged, or no detector.
        """
        checkpoint = load_checkpoint(path, DETECTOR)
        config = metanetwork_from_json(checkpoint.get("metanetwork"), str(checkpoint.path))
        (threshold,) = checkpoint.numbers("threshold")
        (num_members,) = checkpoint.numbers("num_members", default=(1,))
        scale, shift = checkpoint.numbers("calibration", 2, default=(1.0, 0.0))
        if not (0 <= threshold <= _MAX_THRESHOLD and scale > 0 and num_members >= 1):
            raise ZoovetError(
                f"{printable(checkpoint.path)} is not as zoovet writes it: a threshold from 0 to 1, a calibration that "
                f"rises and at least one member are expected, got {threshold}, {[scale, shift]} and {num_members}"
            )
        metanetwork = build_metanetwork(config, 0, DETECTOR, num_members=int(num_members))
        checkpoint.load_into(metanetwork)
        return cls(
            metanetwork.to(device),
            graphs_of(checkpoint),
            threshold,
            checkpoint.description,
            distribution_of(checkpoint),
            Calibration(scale, shift),
        )

    @classmethod
    def shipped(cls, name: str, *, models: Path | None = None, device: str = "cpu") -> Detector:
        """Read the detector of a model that comes with the package (:mod:`zoovet.shipped`).

        Args:
            name: One of ``zoovet.shipped.names()``.
            models: Another folder of models than the package's own.
            device: Where to compute.

        Raises:
            ZoovetError: There is no such model, or it has no detector.
        """
        return cls.load(file_of(name, DETECTOR, models), device=device)

    def score(
        self,
        networks: Networks | Sequence[Networks],
        *,
        batch_size: int = 64,
        inversions: InversionMemory | None = None,
    ) -> Tensor:
        """Probability of a trojan.

        Args:
            networks: B networks, or batches of several graphs.
            batch_size: Networks that go through the metanetwork at a time.
            inversions: What inversion found so far, where networks are scored more than once; filled up.

        Returns:
            float32 [B] on the CPU, in the order of the networks; NaN of one whose numbers leave the range of float32
            on the way, which says nothing: such a network is neither healthy nor trojaned.

        Raises:
            ZoovetError: Networks of a graph it was not trained on, or with NaN or infinite weights.
        """
        batches = self._readable(networks)
        device = next(self.metanetwork.parameters()).device
        batches = [batch.detach().to(device, torch.float32) for batch in batches]
        inversion, evidence = inversion_of(self.metanetwork), None
        if inversions is not None and inversion is not None:
            evidence = inversions.invert(inversion, batches)
        with torch.inference_mode():
            return self.calibration(logits_of(self.metanetwork, batches, batch_size, evidence)).cpu()

    def flag(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Whether the probability is not below the threshold: bool [B]; one that is not a number is not."""
        return ~(self.score(networks) < self.threshold)


def logits_of(
    model: nn.Module, batches: Sequence[Networks], batch_size: int, evidence: Sequence[Evidence] | None = None
) -> Tensor:
    """[B] logits, a piece at a time; ``evidence`` is theirs, where it is known already."""
    logits = []
    for index, batch in enumerate(batches):
        for start in range(0, len(batch), batch_size):
            piece = slice(start, start + batch_size)
            options = {} if evidence is None else {"evidence": [evidence[index][piece]]}
            logits.append(model([batch[piece]], **options).squeeze(1))
    return torch.cat(logits)
