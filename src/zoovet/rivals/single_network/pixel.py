"""Pixel: how few pixels must change to turn every image into a class, and does one class need fewer?"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable
from zoovet.rivals.single_network.image_gradients import ImageGradients, image_gradients
from zoovet.rivals.single_network.interface import Progress, SingleNetworkResult, class_result, require_testable
from zoovet.rivals.single_network.outliers import robust_deviations
from zoovet.rivals.single_network.reference_images import ReferenceImages

__all__ = ["PixelChange", "PixelChangeConfig", "smallest_changes"]

_SEARCHES_AT_ONCE = 512
_VISIBLE = 1 / 255
_LEAST_SPREAD = 1.0


@dataclass(frozen=True, kw_only=True)
class PixelChangeConfig:
    """The search for few changed pixels a class; the defaults are those of the authors' code.

    The weight of the trigger's size grows by ``weight_factor`` after ``patience`` passes in a row that turned at least
    ``success`` of the images, and shrinks by that to the power of 1.5 after as many that did not.

    Attributes:
        num_epochs: Passes over the images.
        batch_size: Images a step.
        num_images: Reference images that are used, at most.
        learning_rate: Adam's.
        success: Share of the images that must be turned.
        initial_weight: Of the trigger's size.
        weight_factor: By which that grows.
        patience: Passes in a row before it changes.
        seed: Of batches and initial values, which are the same for every class.

    Raises:
        ZoovetError: A number out of its range.
    """

    num_epochs: int = 1000
    batch_size: int = 32
    num_images: int = 100
    learning_rate: float = 0.1
    success: float = 0.9
    initial_weight: float = 1e-3
    weight_factor: float = 1.5
    patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_epochs", "batch_size", "num_images", "patience"):
            if getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.success <= 1 or not self.weight_factor > 1 or not self.initial_weight > 0:
            raise ZoovetError(
                "success must be a share above 0 and at most 1, weight_factor above 1 and initial_weight above 0, got "
                f"{self.success}, {self.weight_factor} and {self.initial_weight}"
            )

    @classmethod
    def reduced(cls) -> PixelChangeConfig:
        """For processors: few images and passes, and a weight of the size that is found sooner."""
        return cls(num_epochs=60, num_images=24, learning_rate=0.2, initial_weight=0.01, weight_factor=2.0, patience=2)


@dataclass(frozen=True, kw_only=True)
class PixelChange:
    """Scores a network by how many fewer pixels one class's trigger changes than the others' do.

    Source: Tao, Shen, Liu, An, Xu, Ma, Li and Zhang 2022, *Better Trigger Inversion Optimization in Backdoor Scanning*,
    section 4: what is added to and what is taken from each pixel are sought on their own, without a mask; the size of
    both is the sum over pixels of the greatest of their channels' tanh, which is flat where a pixel hardly changes.
    Weights' schedule, initial values and the return to the best trigger whenever one is found are as in the authors'
    code for triggers that turn every class's images.

    The authors flag by a trigger's size, from training networks; without any, a class's score is its size's deviation
    below the median, as in Neural Cleanse, of one pixel at least. Where no trigger was found, all pixels count.

    Attributes:
        config: The search.
    """

    config: PixelChangeConfig = field(default_factory=PixelChangeConfig)
    needs_images: bool = field(default=True, init=False)

    def test(
        self,
        network: Runnable,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        progress: Progress = lambda _: None,
    ) -> SingleNetworkResult:
        """As in :class:`SingleNetworkTest`; class scores are how many fewer pixels change than is usual."""
        require_testable(network)
        reference = ReferenceImages.required("Pixel", network, images, labels)
        some = reference.at_most(self.config.num_images, self.config.seed).images
        sizes = smallest_changes(image_gradients(network), some, network.num_classes, self.config, progress)
        class_scores = -robust_deviations(sizes, _LEAST_SPREAD)
        return class_result(class_scores, float(class_scores.max()))


def smallest_changes(
    gradients: ImageGradients,
    images: Tensor,
    num_classes: int,
    config: PixelChangeConfig,
    progress: Progress = lambda _: None,
) -> Tensor:
    """Pixels that the smallest trigger changes which turns images into each class: float64 [classes]."""
    with torch.inference_mode(False), torch.enable_grad():
        return _Search(gradients, (images.clone() + 1) / 2, num_classes, config).sizes(progress)


class _Search:
    """All classes side by side on the same batches, of images in [0, 1]."""

    def __init__(self, gradients: ImageGradients, images: Tensor, num_classes: int, config: PixelChangeConfig) -> None:
        self._gradients, self._images, self._config = gradients, images, config
        self._generator = torch.Generator().manual_seed(config.seed)
        self._parts = [
            torch.rand(images.shape[1:], generator=self._generator).to(images).repeat(num_classes, 1, 1, 1)
            for _ in ("added", "taken")
        ]
        for part in self._parts:
            part.requires_grad_()
        self._optimizer = torch.optim.Adam(self._parts, lr=config.learning_rate, betas=(0.5, 0.9))
        self._weights = torch.full((num_classes,), config.initial_weight, dtype=torch.float64)
        self._successes, self._failures = torch.zeros(2, num_classes, dtype=torch.int64)
        self._best_sum = torch.full_like(self._weights, torch.inf)
        self._best_size = torch.full_like(self._weights, float(images[0, 0].numel()))

    def sizes(self, progress: Progress) -> Tensor:
        """Search to the end."""
        for epoch in range(self._config.num_epochs):
            sums, turned = self._epoch()
            self._keep_better(sums, turned >= self._config.success)
            self._reweigh(turned >= self._config.success)
            progress((epoch + 1) / self._config.num_epochs)
        return self._best_size

    def _epoch(self) -> tuple[Tensor, Tensor]:
        """Mean sum of the changes over the steps and share of the images turned, float64 [classes] both."""
        sums, num_turned = torch.zeros_like(self._weights), torch.zeros_like(self._weights)
        count, classes = len(self._images), torch.arange(len(self._weights))
        order = torch.split(torch.randperm(count, generator=self._generator), self._config.batch_size)
        for chosen in order:
            self._optimizer.zero_grad()
            for some in classes.split(max(1, _SEARCHES_AT_ONCE // len(chosen))):
                each, is_turned = self._slopes(some, self._images[chosen.to(self._images.device)])
                sums[some] += each / len(order)
                num_turned[some] += is_turned
            self._optimizer.step()
        return sums, num_turned / count

    def _slopes(self, classes: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        rows = classes.to(images.device)
        added, taken = (part[rows] for part in self._parts)
        changed = (images + (added.clamp(0, 1) - taken.clamp(0, 1))[:, None]).clamp(0, 1)
        sums = sum(((part / 10).tanh() / 2 + 0.5).amax(1).flatten(1).sum(1) for part in (added, taken))
        assert isinstance(sums, Tensor)
        wanted = rows.repeat_interleave(len(images))
        to_images, logits = self._gradients((2 * changed.detach() - 1).flatten(0, 1), wanted)
        torch.autograd.backward(
            [changed, sums], [2 * to_images.view_as(changed) / len(images), self._weights[classes].to(sums)]
        )
        num_turned = (logits.argmax(1) == wanted).view(len(classes), -1).sum(1)
        return sums.detach().double().cpu(), num_turned.double().cpu()

    @torch.no_grad()
    def _keep_better(self, sums: Tensor, works: Tensor) -> None:
        """Take over triggers that are smaller both by sum and by pixels; theirs begin again without what is unseen."""
        shown = [part.clamp(0, 1) for part in self._parts]
        shown = [torch.where(part < _VISIBLE, 0.0, part) for part in shown]
        sizes = ((shown[0] - shown[1]).abs().sum(1) > 0).flatten(1).sum(1).double().cpu()
        is_better = works & (sums < self._best_sum) & (sizes < self._best_size)
        self._best_sum = torch.where(is_better, sums, self._best_sum)
        self._best_size = torch.where(is_better, sizes, self._best_size)
        rows = is_better.nonzero().flatten().to(self._images.device)
        for part, kept in zip(self._parts, shown, strict=True):
            part[rows] = kept[rows]

    def _reweigh(self, works: Tensor) -> None:
        config = self._config
        self._successes = torch.where(works, self._successes + 1, 0)
        self._failures = torch.where(works, 0, self._failures + 1)
        grows, shrinks = self._successes >= config.patience, self._failures >= config.patience
        self._weights = torch.where(grows, self._weights * config.weight_factor, self._weights)
        self._weights = torch.where(shrinks, self._weights / config.weight_factor**1.5, self._weights)
        self._successes = torch.where(grows, 0, self._successes)
        self._failures = torch.where(shrinks, 0, self._failures)
