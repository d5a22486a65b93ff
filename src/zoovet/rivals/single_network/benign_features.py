"""BTI-DBF: which class do images become whose benign features stay and whose other features change?"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable
from zoovet.rivals.single_network.interface import Progress, SingleNetworkResult, class_result, require_testable
from zoovet.rivals.single_network.reference_images import ReferenceImages
from zoovet.rivals.single_network.splitting import SplitNetwork, split_network
from zoovet.rivals.single_network.trigger_generator import TriggerGenerator

__all__ = ["BenignFeatures", "BenignFeaturesConfig"]

_NOISE = 0.03
_NUM_LOOKS = 4
_SQUASHING = 1e-7


@dataclass(frozen=True, kw_only=True)
class BenignFeaturesConfig:
    """Both steps; the defaults are those of the authors' code, with steps for their passes over 2,500 images.

    Attributes:
        num_mask_steps: Of Adam on the mask of benign features.
        mask_learning_rate: Of the same.
        num_generator_steps: Of Adam on the generator of triggers.
        generator_learning_rate: Of the same.
        batch_size: Images a step.
        num_images: Reference images that are used, at most.
        pixel_bound: Largest mean squared change of an image's pixels, whose range is 2, before the generator is turned
            back; the authors' 0.3 is of pixels of CIFAR-10 that were scaled to a deviation of 1.
        feature_bound: The same of its benign features.
        benign_weight: Of the change of benign features, in units of that of the others.
        width: Channels of the generator's outermost block.
        num_blocks: Times that the generator halves the image.
        seed: Of everything that is drawn.

    Raises:
        ZoovetError: A number out of its range.
    """

    num_mask_steps: int = 400
    mask_learning_rate: float = 0.01
    num_generator_steps: int = 600
    generator_learning_rate: float = 1e-3
    batch_size: int = 128
    num_images: int = 2500
    pixel_bound: float = 0.05
    feature_bound: float = 5.0
    benign_weight: float = 0.01
    width: int = 32
    num_blocks: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_mask_steps", "num_generator_steps", "batch_size", "num_images", "width", "num_blocks"):
            if getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not min(self.pixel_bound, self.feature_bound) > 0:
            raise ZoovetError(
                f"pixel_bound and feature_bound must be above 0, got {self.pixel_bound} and {self.feature_bound}"
            )

    @classmethod
    def reduced(cls) -> BenignFeaturesConfig:
        """For processors: a narrow generator, fewer and longer steps, small batches."""
        return cls(
            num_generator_steps=120,
            generator_learning_rate=5e-3,
            batch_size=32,
            num_images=100,
            width=8,
            num_blocks=2,
        )


@dataclass(frozen=True, kw_only=True)
class BenignFeatures:
    """Scores a network by how surely a generator that leaves benign features alone turns images into one class.

    Source: Xu, Huang, Li, Qin and Ren 2024, *Towards Reliable and Efficient Backdoor Trigger Inversion via Decoupling
    Benign Features*, section 4: a mask over the features behind the last convolutions, with which the network still
    answers right and without which it does not (step 1); a generator of images that differ as much as they can outside
    the mask, and hardly within it (step 2). The class that most generated images are taken for is the target.

    The paper gives no score of a network: it supposes a trojan, seeks its target and heals. Here a class's score is its
    mean probability on generated images of the other classes, and the network's the greatest of these. The generator
    adds to the image, so that it begins near it without the authors' training for that; it has no batch norms, since
    batches here are small. Batch norms of the network stay as they are in step 1 too, where the authors let them follow
    the batch. Labels count in step 1 only.

    Attributes:
        config: Both steps.
    """

    config: BenignFeaturesConfig = field(default_factory=BenignFeaturesConfig)
    needs_images: bool = field(default=True, init=False)

    def test(
        self,
        network: Runnable,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        progress: Progress = lambda _: None,
    ) -> SingleNetworkResult:
        """As in :class:`SingleNetworkTest`; class scores are mean probabilities on generated images."""
        require_testable(network)
        config = self.config
        reference = ReferenceImages.required("BTI-DBF", network, images, labels).at_most(config.num_images, config.seed)
        with torch.inference_mode(False), torch.enable_grad():
            reference = ReferenceImages(reference.images.clone(), reference.labels.clone())
            split = split_network(network, "last map")
            draws = torch.Generator().manual_seed(config.seed)
            mask = _benign_mask(split, reference, config, draws)
            progress(0.1)
            trained = _trained_generator(split, reference, mask, config, draws, progress)
        with torch.no_grad():
            class_scores = _answers(network, trained, reference, draws)
        progress(1.0)
        return class_result(class_scores, float(class_scores.max()))


def _benign_mask(
    split: SplitNetwork, reference: ReferenceImages, config: BenignFeaturesConfig, draws: torch.Generator
) -> Tensor:
    """The mask of benign features, in 0 to 1: [*shape of features]."""
    with torch.no_grad():
        features = torch.cat([split.features(some) for some in reference.images.split(config.batch_size)])
    logits = torch.randn(split.feature_shape, generator=draws).to(features).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=config.mask_learning_rate)
    for _ in range(config.num_mask_steps):
        rows = torch.randperm(len(features), generator=draws)[: config.batch_size].to(features.device)
        mask = _squashed(logits)
        kept, left = (split.answers(part * features[rows]) for part in (mask, 1 - mask))
        wanted = reference.labels[rows]
        loss = functional.cross_entropy(kept, wanted) - functional.cross_entropy(left, wanted)
        (logits.grad,) = torch.autograd.grad(loss, logits)
        optimizer.step()
    return _squashed(logits).detach()


def _squashed(logits: Tensor) -> Tensor:
    return logits.tanh() / (2 + _SQUASHING) + 0.5


def _trained_generator(
    split: SplitNetwork,
    reference: ReferenceImages,
    mask: Tensor,
    config: BenignFeaturesConfig,
    draws: torch.Generator,
    progress: Progress,
) -> TriggerGenerator:
    images = reference.images
    generator = TriggerGenerator(images.shape[1], config.width, config.num_blocks, draws).to(images)
    weights = list(generator.parameters())
    optimizer = torch.optim.Adam(weights, lr=config.generator_learning_rate)
    with torch.no_grad():
        usual = torch.cat([split.features(some) for some in images.split(config.batch_size)])
    for step in range(config.num_generator_steps):
        rows = torch.randperm(len(images), generator=draws)[: config.batch_size].to(images.device)
        changed = generator(images[rows])
        moves = split.features(changed) - usual[rows]
        benign, other = (part.square().mean() for part in (mask * moves, (1 - mask) * moves))
        pixels = (changed - images[rows]).square().mean()
        is_too_far = pixels.item() > config.pixel_bound or benign.item() > config.feature_bound
        loss = pixels if is_too_far else config.benign_weight * benign - other
        for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = slope
        optimizer.step()
        progress(0.1 + 0.9 * (step + 1) / config.num_generator_steps)
    return generator


def _answers(
    network: Runnable, generator: TriggerGenerator, reference: ReferenceImages, draws: torch.Generator
) -> Tensor:
    """Each class's mean probability on generated images of the other classes, as noisy as the authors': [classes]."""
    found = []
    for _ in range(_NUM_LOOKS):
        noise = _NOISE * torch.randn(reference.images.shape, generator=draws).to(reference.images)
        found.append(network.logits(generator(reference.images + noise))[0].double().softmax(1))
    probabilities = torch.stack(found).mean(0)
    others = (reference.labels[:, None] != torch.arange(network.num_classes, device=noise.device)).double()
    return (probabilities * others).sum(0) / others.sum(0).clamp_min(1)
