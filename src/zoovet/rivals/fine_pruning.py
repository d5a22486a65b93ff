"""Fine-pruning: prune what clean images do not use, then tune what is left."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, forward_hidden
from zoovet.rivals.clean_images import CleanImages, accuracy_on, channel_mask, pruned, tune

__all__ = ["FinePruningRepairer"]


@dataclass(frozen=True, kw_only=True)
class FinePruningRepairer:
    """Prunes channels of the last hidden layer in the order of their mean activation on clean images, then fine-tunes.

    Source: Liu, Dolan-Gavitt and Garg 2018, *Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural
    Networks*, section 4. As tanh has no resting value of 0, activation is measured by its mean absolute value.

    Attributes:
        clean: Images, for pruning and for tuning.
        max_accuracy_lost: Pruning stops before the accuracy on the clean images falls by more.
        num_epochs, batch_size, learning_rate, seed: Of the tuning; see :class:`FineTuningRepairer`.
    """

    clean: CleanImages
    max_accuracy_lost: float = 0.04
    num_epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-2
    seed: int = 0

    def repair(self, networks: Networks) -> Networks:
        """Pruned and tuned copies of the networks, in the same order.

        Raises:
            ZoovetError: Networks without a hidden layer.
        """
        if len(networks.weights) < 2:
            raise ZoovetError("fine-pruning prunes the last hidden layer; these networks have none")
        clean = self.clean.on(networks)
        keep = [torch.ones_like(bias) for bias in networks.biases[:-1]]
        keep[-1] = self._channels_to_keep(networks, clean)
        return tune(
            networks,
            clean,
            num_epochs=self.num_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=self.seed,
            mask=channel_mask(networks, keep),
        )

    def _channels_to_keep(self, networks: Networks, clean: CleanImages) -> Tensor:
        """[B, channels] of the last hidden layer: 0 for the least active ones, as many as accuracy allows."""
        with torch.no_grad():
            activity = forward_hidden(networks, clean.images)[1][-1].abs().mean(dim=1)
        activity = activity.flatten(2).mean(dim=2) if activity.ndim > 2 else activity
        rank = activity.argsort(dim=1).argsort(dim=1)
        least_accuracy = accuracy_on(networks, clean) - self.max_accuracy_lost
        number = torch.zeros(len(networks), dtype=torch.long, device=networks.device)
        going_on = torch.ones(len(networks), dtype=torch.bool, device=networks.device)
        for count in range(1, activity.shape[1]):
            keep = [torch.ones_like(bias) for bias in networks.biases[:-1]]
            keep[-1] = (rank >= count).to(activity)
            going_on &= accuracy_on(pruned(networks, keep), clean) >= least_accuracy
            number[going_on] = count
        return (rank >= number.unsqueeze(1)).to(activity)
