"""Detector: a trained metanetwork that says how likely a network is trojaned. Needs neither Lightning nor a zoo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.metanets import ScaleGMN
from zoovet.networks import Networks, NetworkSpec
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.tasks.inversion_memory import InversionMemory
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_from_json
from zoovet.tasks.vetting import as_batches, require_known_specs, specs_of

__all__ = ["DETECTOR", "Detector", "logits_of"]

DETECTOR = "detector"
"""The kind that its checkpoints name."""


class Detector:
    """A trained metanetwork that gives a network its probability of being trojaned.

    Args:
        metanetwork: From a list of networks to [B, 1] logits.
        specs: What it was trained on.
        threshold: Probability from which a network is flagged; chosen on validation networks.
        description: What its checkpoint says of it: configuration, validation figures, zoo, versions.

    Attributes:
        metanetwork, specs, threshold, description: As given; the metanetwork in evaluation mode.
    """

    def __init__(
        self,
        metanetwork: nn.Module,
        specs: Sequence[NetworkSpec],
        threshold: float,
        description: dict[str, Any] | None = None,
    ) -> None:
        self.metanetwork = metanetwork.eval().requires_grad_(False)
        self.specs = tuple(specs)
        self.threshold = threshold
        self.description = description or {}

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> Detector:
        """Read a detector from a run's folder or its checkpoint file; no code in it is run.

        Raises:
            ZoovetError: It is missing, damaged, or no detector.
        """
        checkpoint = load_checkpoint(path, DETECTOR)
        config = metanetwork_from_json(checkpoint.get("metanetwork"), str(checkpoint.path))
        metanetwork = build_metanetwork(config, 0, DETECTOR)
        checkpoint.load_into(metanetwork)
        return cls(
            metanetwork.to(device), specs_of(checkpoint), float(checkpoint.get("threshold")), checkpoint.description
        )

    def score(
        self,
        networks: Networks | Sequence[Networks],
        *,
        batch_size: int = 64,
        inversions: InversionMemory | None = None,
    ) -> Tensor:
        """Probability of a trojan.

        Args:
            networks: B networks, or batches of several specs.
            batch_size: Networks that go through the metanetwork at a time.
            inversions: What inversion found so far, where networks are scored more than once; filled up.

        Returns:
            float32 [B] on the CPU, in the order of the networks.

        Raises:
            ZoovetError: Networks of a spec it was not trained on, or with NaN or infinite weights.
        """
        batches = as_batches(networks)
        require_known_specs(batches, self.specs, DETECTOR)
        device = next(self.metanetwork.parameters()).device
        batches = [batch.detach().to(device, torch.float32) for batch in batches]
        inverted = None
        if inversions is not None and isinstance(self.metanetwork, ScaleGMN) and self.metanetwork.inversion is not None:
            inverted = inversions.invert(self.metanetwork, batches)
        with torch.inference_mode():
            return torch.sigmoid(logits_of(self.metanetwork, batches, batch_size, inverted)).cpu()

    def flag(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Whether the probability reaches the threshold: bool [B]."""
        return self.score(networks) >= self.threshold


def logits_of(
    model: nn.Module, batches: Sequence[Networks], batch_size: int, inverted: Sequence[Tensor] | None = None
) -> Tensor:
    """[B] logits, a piece at a time; ``inverted`` is what inversion found, where that is known already."""
    logits = []
    for index, batch in enumerate(batches):
        for start in range(0, len(batch), batch_size):
            piece = slice(start, start + batch_size)
            options = {} if inverted is None else {"inverted": [inverted[index][piece]]}
            logits.append(model([batch[piece]], **options).squeeze(1))
    return torch.cat(logits)
