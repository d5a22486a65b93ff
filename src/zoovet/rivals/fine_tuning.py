"""Repair by fine-tuning on clean images."""

from __future__ import annotations

from dataclasses import dataclass

from zoovet.networks import Networks
from zoovet.rivals.clean_images import CleanImages, tune

__all__ = ["FineTuningRepairer"]


@dataclass(frozen=True, kw_only=True)
class FineTuningRepairer:
    """Trains a network on clean images for a while, by Adam.

    Attributes:
        clean: The images.
        num_epochs: Passes over them.
        batch_size: Images a step.
        learning_rate: Adam's. A high one forgets the trojan faster, and more of what is clean.
        seed: Of the order of the images.
    """

    clean: CleanImages
    num_epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-2
    seed: int = 0

    def repair(self, networks: Networks) -> Networks:
        """Tuned copies of the networks, in the same order."""
        return tune(
            networks,
            self.clean,
            num_epochs=self.num_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=self.seed,
        )
