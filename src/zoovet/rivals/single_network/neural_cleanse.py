"""Neural Cleanse: how small a patch turns every image into a class, and does one class stand out?"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable
from zoovet.rivals.single_network.image_gradients import ImageGradients, image_gradients
from zoovet.rivals.single_network.interface import Progress, SingleNetworkResult, class_result, require_testable
from zoovet.rivals.single_network.mask_weights import MaskWeights, MaskWeightsConfig
from zoovet.rivals.single_network.outliers import robust_deviations
from zoovet.rivals.single_network.reference_images import ReferenceImages

__all__ = ["NeuralCleanse", "NeuralCleanseConfig", "smallest_masks"]

_SEARCHES_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class NeuralCleanseConfig(MaskWeightsConfig):
    """The search for a patch a class; the defaults are those of the authors' example.

    An epoch is a pass over the clean images (the authors', who have more, is one over a thousand).

    Attributes:
        num_epochs: At most.
        batch_size: Clean images a step.
        num_images: Clean images that are used, at most.
        learning_rate: Adam's, on the mask and the pattern before their squashing.
        seed: Of batches and initial values, which are the same for every class.

    Raises:
        ZoovetError: A number out of its range.
    """

    num_epochs: int = 1000
    batch_size: int = 32
    num_images: int = 1000
    learning_rate: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_epochs", "batch_size", "num_images"):
            if getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 1, got {getattr(self, name)}")

    @classmethod
    def reduced(cls) -> NeuralCleanseConfig:
        """For processors: few images, few and long steps, and a weight of the mask that is found sooner."""
        return cls(num_epochs=70, num_images=24, learning_rate=0.3, success=0.95, initial_weight=0.01, patience=2)


@dataclass(frozen=True, kw_only=True)
class NeuralCleanse:
    """Scores a network by the anomaly index of the smallest mask among its classes'; the paper flags above 2.

    Source: Wang, Yao, Shan, Li, Viswanath, Zheng and Zhao 2019, *Neural Cleanse: Identifying and Mitigating Backdoor
    Attacks in Neural Networks*, section IV: a mask and a pattern for each class, cross-entropy plus a weight times the
    mask's L1 norm, and the median absolute deviation of the norms. The schedule of the weight, which the paper leaves
    open, is as in the authors' code. Other than there, all classes' searches start from the same random values and see
    the same batches, so that the classes' order does not count. The paper gives no p-value.

    Attributes:
        config: The search.
    """

    config: NeuralCleanseConfig = field(default_factory=NeuralCleanseConfig)
    needs_images: bool = field(default=True, init=False)

    def test(
        self,
        network: Runnable,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        progress: Progress = lambda _: None,
    ) -> SingleNetworkResult:
        """As in :class:`SingleNetworkTest`; class scores are how far each mask is smaller than the median."""
        require_testable(network)
        reference = ReferenceImages.required("Neural Cleanse", network, images, labels)
        some = reference.at_most(self.config.num_images, self.config.seed).images
        norms = smallest_masks(image_gradients(network), some, network.num_classes, self.config, progress)
        class_scores = -robust_deviations(norms)
        return class_result(class_scores, float(class_scores.max()))


def smallest_masks(
    gradients: ImageGradients,
    images: Tensor,
    num_classes: int,
    config: NeuralCleanseConfig,
    progress: Progress = lambda _: None,
) -> Tensor:
    """L1 norm of the smallest mask that turns images into each class: float64 [classes].

    Of all successful epochs that of the least mean norm counts, with the mask that its last step left; where there was
    none, the last epoch.

    Args:
        gradients: Of the network.
        images: [n, C, H, W] in [-1, 1].
        num_classes: Of the network.
        config: The search.
        progress: Told how far it is.
    """
    with torch.inference_mode(False), torch.enable_grad():  # the search needs gradients, whatever the caller does
        return _Search(gradients, images.clone(), num_classes, config).norms(progress)


class _Search:
    """All classes side by side on the same batches, each until its search ends."""

    def __init__(
        self, gradients: ImageGradients, images: Tensor, num_classes: int, config: NeuralCleanseConfig
    ) -> None:
        self._gradients, self._images, self._config = gradients, images, config
        self._generator = torch.Generator().manual_seed(config.seed)
        self._weights = MaskWeights(num_classes, config)
        self._mask, self._pattern = (
            torch.atanh((2 - 1e-6) * (torch.rand(size, generator=self._generator) - 0.5))
            .to(images)
            .repeat(num_classes, 1, 1, 1)
            .requires_grad_()
            for size in ((1, *images.shape[2:]), images.shape[1:])
        )
        self._optimizer = torch.optim.Adam([self._mask, self._pattern], lr=config.learning_rate, betas=(0.5, 0.9))

    def norms(self, progress: Progress) -> Tensor:
        """Search to the end."""
        for epoch in range(self._config.num_epochs):
            searched = self._weights.is_searched.nonzero().flatten()
            if not len(searched):
                break
            self._epoch(searched)
            progress((epoch + 1) / self._config.num_epochs)
        return self._weights.norms

    def _epoch(self, searched: Tensor) -> None:
        weights, count = self._weights, len(self._images)
        means, num_turned = torch.zeros_like(weights.values), torch.zeros_like(weights.values)
        order = torch.split(torch.randperm(count, generator=self._generator), self._config.batch_size)
        for chosen in order:
            self._optimizer.zero_grad()
            for some in searched.split(max(1, _SEARCHES_AT_ONCE // len(chosen))):
                sizes, is_turned = self._slopes(some, self._images[chosen.to(self._images.device)])
                means[some] += sizes / len(order)
                num_turned[some] += is_turned.sum(1)
            self._optimizer.step()
        norms = (self._mask.detach().tanh() / 2 + 0.5).flatten(1).sum(1).double().cpu()
        weights.update(means, num_turned / count, norms)

    def _slopes(self, classes: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Add to the gradients of some classes' masks and patterns.

        Returns:
            Their masks' norms, float64 [searches], and which images they turn, float64 [searches, n].
        """
        rows = classes.to(images.device)
        mask = self._mask[rows].tanh() / 2 + 0.5
        patched = torch.lerp(images, self._pattern[rows].tanh().unsqueeze(1), mask.unsqueeze(1))
        sizes = mask.flatten(1).sum(dim=1)
        wanted = rows.repeat_interleave(len(images))
        to_images, logits = self._gradients(patched.detach().flatten(0, 1), wanted)
        torch.autograd.backward(
            [patched, sizes],
            [to_images.view_as(patched) / len(images), self._weights.values[classes].to(sizes)],
        )
        is_turned = (logits.argmax(1) == wanted).view(len(classes), len(images))
        return sizes.detach().double().cpu(), is_turned.double().cpu()
