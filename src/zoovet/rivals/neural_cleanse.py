"""Neural Cleanse on batches of networks of a zoo, by compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Networks
from zoovet.rivals.clean_images import CleanImages
from zoovet.rivals.fitting import chosen_threshold, training_and_validation
from zoovet.rivals.single_network.image_gradients import ImageGradients
from zoovet.rivals.single_network.neural_cleanse import NeuralCleanseConfig, smallest_masks
from zoovet.rivals.single_network.outliers import robust_deviations
from zoovet.zoo import Zoo
from zoovet.zoo.samples import Floats
from zoovet.zoo.training import NetworkTrainer, network_trainer

__all__ = ["NeuralCleanseDetector", "anomaly_indices", "mask_norms"]


@dataclass(frozen=True, kw_only=True)
class NeuralCleanseDetector:
    """Scores networks as :class:`~zoovet.rivals.single_network.NeuralCleanse` does; needs clean images, no training.

    Attributes:
        clean: The images.
        config: The search.
        threshold: Anomaly index from which a network is flagged; the paper's is 2.
    """

    clean: CleanImages
    config: NeuralCleanseConfig = field(default_factory=NeuralCleanseConfig)
    threshold: float = 2.0

    def tuned(self, zoo: Zoo) -> NeuralCleanseDetector:
        """The same with the threshold that is most accurate on a zoo's validation networks.

        Raises:
            ZoovetError: The zoo has no poisoned networks, or a split lacks healthy or trojaned ones.
        """
        _, validation = training_and_validation(zoo)
        threshold = chosen_threshold(self.score(validation.networks), validation)
        return NeuralCleanseDetector(clean=self.clean, config=self.config, threshold=threshold)

    def score(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Anomaly indices, float32 [B], in the order of the networks; negative where the smallest mask is no outlier.

        Raises:
            ZoovetError: Networks of fewer than three classes, among which no outlier can be told; that read no images;
                or whose images have another shape than the clean ones.
        """
        with torch.inference_mode(False), torch.enable_grad():  # the search needs gradients, whatever the caller does
            norms = [
                mask_norms(batch.map(torch.clone), self.clean, self.config)
                for batch in ([networks] if isinstance(networks, Networks) else networks)
            ]
        return torch.cat([anomaly_indices(some) for some in norms]).float().cpu()


def anomaly_indices(norms: Tensor) -> Tensor:
    """How far the smallest norm lies below the median, in robust standard deviations: [B] from [B, classes].

    Raises:
        ZoovetError: Fewer than three classes.
    """
    _require_classes(norms.shape[1])
    return -robust_deviations(norms).min(dim=1).values


def _require_classes(count: int) -> None:
    if count < 3:
        raise ZoovetError(f"an outlier among classes needs at least three, got {count}")


def mask_norms(networks: Networks, clean: CleanImages, config: NeuralCleanseConfig) -> Tensor:
    """L1 norm of the smallest mask that turns images into each class, [B, classes].

    Searched in float32, on processors, network by network.

    Raises:
        ZoovetError: The networks have fewer than three classes, or read no images of the clean ones' shape.
    """
    graph, num_classes = networks.graph, networks.graph.num_outputs
    if len(graph.input_shape) != 3 or clean.images.shape[1:] != graph.input_shape:
        raise ZoovetError(
            f"Neural Cleanse seeks a patch of images of the shape {list(clean.images.shape[1:])}, but these networks "
            f"read inputs of the shape {list(graph.input_shape)}; give clean images of that shape"
        )
    _require_classes(num_classes)
    trainer = network_trainer(graph)
    flats = networks.detach().flat().float().cpu().numpy()
    images = clean.images.float().cpu().contiguous()
    norms = [smallest_masks(_gradients(trainer, trainer.pack(flat)), images, num_classes, config) for flat in flats]
    return torch.stack(norms).float().to(networks.device)


def _gradients(trainer: NetworkTrainer, parameters: Floats) -> ImageGradients:
    """Those that compiled code finds."""

    def gradients(images: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        slopes, logits = trainer.image_gradients(parameters, images.numpy(), wanted.int().numpy())
        return torch.from_numpy(slopes).view_as(images), torch.from_numpy(logits)

    return gradients
