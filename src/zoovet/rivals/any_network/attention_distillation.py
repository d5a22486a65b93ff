"""NAD: the attention of a network's layers is brought to that of a fine-tuned copy of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.evidence import RunnableGraphs
from zoovet.healing import Editable, FloatingWeights
from zoovet.rivals.any_network.fine_tuning import FineTuning
from zoovet.rivals.any_network.tuning import ReferenceBatches, descended, gradients

__all__ = ["AttentionDistillation"]


@dataclass(frozen=True, kw_only=True)
class AttentionDistillation:
    """Fine-tunes a teacher, then a student whose attention maps, where maps are at their smallest sizes, follow it.

    Source: Li et al. 2021, *Neural Attention Distillation: Erasing Backdoor Triggers from Deep Neural Networks*,
    section 3, with the sum of squares over channels for attention. The authors' groups are residual stages: here the
    last map of each size.

    Attributes:
        num_steps, rate: Of the descent, teacher's and student's alike.
        weight: Of the distance of attention maps, of all sizes together, beside cross-entropy.
        seed: Of batches.
    """

    num_steps: int = 120
    rate: float = 0.01
    weight: float = 500.0
    seed: int = 0

    def heal(self, editable: Editable, images: Tensor, labels: Tensor) -> FloatingWeights:
        """See :class:`~zoovet.rivals.any_network.Healer`.

        Raises:
            ZoovetError: The network's sites are not known.
        """
        _graphs_of(editable, editable.weights)
        teacher = FineTuning(num_steps=self.num_steps, rate=self.rate, seed=self.seed).heal(editable, images, labels)

        def slopes(own: dict[str, Tensor], some: Tensor, wanted: Tensor) -> dict[str, Tensor]:
            with torch.no_grad():
                _, wanted_maps = _answers(editable, teacher, some)
            logits, maps = _answers(editable, own, some)
            loss = functional.cross_entropy(logits, wanted)
            for one, other in zip(maps, wanted_maps, strict=True):
                loss = loss + self.weight * (one - other).square().mean()
            return gradients(loss, own)

        batches = ReferenceBatches(images, labels, seed=self.seed + 1)
        return descended(editable.weights, slopes, batches, num_steps=self.num_steps, rate=self.rate)


def _answers(editable: Editable, weights: FloatingWeights, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the attention of the last map of each size: [N, places], of length 1 for each image."""
    network = _graphs_of(editable, weights)
    graph = network.networks.graph
    last = {site.shape[1:]: name for name, site in graph.sites.items() if len(site.shape) == 3 and site.shape[1] > 1}
    found = network.values_at(images, [*last.values(), graph.output])
    logits = found.pop(graph.output)[0]
    return logits, [functional.normalize(maps[0].square().mean(1).flatten(1), dim=1) for maps in found.values()]


def _graphs_of(editable: Editable, weights: FloatingWeights) -> RunnableGraphs:
    network = editable.with_weights(weights)
    if not isinstance(network, RunnableGraphs):
        raise ZoovetError("attention is distilled between sites of a graph, and this network's are not known")
    return network
