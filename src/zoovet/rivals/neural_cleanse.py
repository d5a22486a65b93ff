"""Neural Cleanse: how small a patch turns every image into a class, and does one class stand out?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Networks
from zoovet.rivals.clean_images import CleanImages
from zoovet.rivals.fitting import chosen_threshold, training_and_validation
from zoovet.zoo import Zoo
from zoovet.zoo.samples import Floats
from zoovet.zoo.training import NetworkTrainer, network_trainer

__all__ = ["MaskWeights", "NeuralCleanseConfig", "NeuralCleanseDetector", "anomaly_indices", "mask_norms"]

_CONSISTENCY = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, kw_only=True)
class NeuralCleanseConfig:
    """The search for a patch a class; the defaults are those of the authors' example.

    An epoch is a pass over the clean images (the authors', who have more, is one over a thousand); it is successful
    where the patch turned at least ``success`` of them. The weight of the mask's size is zero until ``patience`` epochs
    in a row were successful, then ``initial_weight``. From then on it grows by ``weight_factor`` after every
    ``patience`` successful epochs in a row, and shrinks by that to the power of 1.5 after as many that were not.

    Attributes:
        num_epochs: At most.
        batch_size: Clean images a step.
        learning_rate: Adam's, on the mask and the pattern before their squashing.
        success: Share of the images that must be turned.
        initial_weight: Of the mask's size, once there is one.
        weight_factor: By which that grows.
        patience: Epochs in a row before it changes.
        stop_patience: A class's search ends after so many epochs without a smaller mask, once its weight has grown and
            shrunk.
        seed: Of batches and initial values.
    """

    num_epochs: int = 1000
    batch_size: int = 32
    learning_rate: float = 0.1
    success: float = 0.99
    initial_weight: float = 1e-3
    weight_factor: float = 2.0
    patience: int = 5
    stop_patience: int = 25
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class NeuralCleanseDetector:
    """Scores a network by the anomaly index of its smallest mask among its classes'; needs clean images, no training.

    Source: Wang, Yao, Shan, Li, Viswanath, Zheng and Zhao 2019, *Neural Cleanse: Identifying and Mitigating Backdoor
    Attacks in Neural Networks*, section IV; the schedule of the mask's weight, which the
    paper leaves open, as in the authors' code.

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
    median = norms.quantile(0.5, dim=1)  # of an even number the middle of the two; Tensor.median takes the lower
    spread = _CONSISTENCY * (norms - median.unsqueeze(1)).abs().quantile(0.5, dim=1)
    return (median - norms.min(dim=1).values) / spread.clamp_min(torch.finfo(norms.dtype).tiny)


def _require_classes(count: int) -> None:
    if count < 3:
        raise ZoovetError(f"an outlier among classes needs at least three, got {count}")


def mask_norms(networks: Networks, clean: CleanImages, config: NeuralCleanseConfig) -> Tensor:
    """L1 norm of the smallest mask that turns images into each class, [B, classes].

    Of all successful epochs that of the least mean norm counts, with the mask that its last step left; where there was
    none, the last epoch. Searched in float32, on processors, network by network.

    Raises:
        ZoovetError: The networks have fewer than three classes, or read no images of the clean ones' shape.
    """
    spec, num_classes = networks.graph, networks.graph.num_outputs
    if len(spec.input_shape) != 3 or clean.images.shape[1:] != spec.input_shape:
        raise ZoovetError(
            f"Neural Cleanse seeks a patch of images of the shape {list(clean.images.shape[1:])}, but these networks "
            f"read inputs of the shape {list(spec.input_shape)}; give clean images of that shape"
        )
    _require_classes(num_classes)
    trainer = network_trainer(spec)
    flats = networks.detach().flat().float().cpu().numpy()
    clean = CleanImages(clean.images.float().cpu().contiguous(), clean.labels.cpu())
    norms = [_search(trainer, trainer.pack(flat), num_classes, clean, config) for flat in flats]
    return torch.stack(norms).to(networks.device)


def _search(
    trainer: NetworkTrainer, parameters: Floats, num_classes: int, clean: CleanImages, config: NeuralCleanseConfig
) -> Tensor:
    """The norms of one network, [classes]: all classes side by side on the same batches, each until its search ends."""
    generator = torch.Generator().manual_seed(config.seed)
    shape = clean.images.shape[1:]
    mask_logits, pattern_logits = (
        torch.atanh((2 - 1e-6) * (torch.rand(num_classes, *size, generator=generator) - 0.5)).to(clean.images)
        for size in ((1, *shape[1:]), shape)
    )
    optimizer = torch.optim.Adam(
        [mask_logits.requires_grad_(), pattern_logits.requires_grad_()], lr=config.learning_rate, betas=(0.5, 0.9)
    )
    weights = MaskWeights(num_classes, config)
    for _ in range(config.num_epochs):
        searched = weights.is_searched.nonzero().flatten()
        if not len(searched):
            break
        means = torch.zeros_like(weights.values)
        num_turned = torch.zeros(num_classes, dtype=torch.int64)
        order = torch.split(torch.randperm(len(clean), generator=generator), config.batch_size)
        for chosen in order:
            mask = mask_logits[searched].tanh() / 2 + 0.5
            pattern = pattern_logits[searched].tanh()
            patched = torch.lerp(clean.images[chosen], pattern.unsqueeze(1), mask.unsqueeze(1))
            sizes = mask.flatten(1).sum(dim=1)
            wanted = searched.int().repeat_interleave(len(chosen)).numpy()
            to_images, logits = trainer.image_gradients(parameters, patched.detach().flatten(0, 1).numpy(), wanted)
            optimizer.zero_grad()
            torch.autograd.backward(
                [patched, sizes],
                [torch.from_numpy(to_images).view_as(patched) / len(chosen), weights.values[searched].to(sizes)],
            )
            optimizer.step()
            means[searched] += sizes.detach() / len(order)
            found = torch.from_numpy(logits.argmax(axis=1) == wanted).view(len(searched), len(chosen))
            num_turned[searched] += found.sum(dim=1)
        masks = mask_logits.detach().tanh() / 2 + 0.5
        weights.update(means, num_turned.double() / len(clean), masks.flatten(1).sum(dim=1).double())
    return weights.norms.float()


class MaskWeights:
    """The weight of each class's mask size from epoch to epoch, and the smallest mask that was successful.

    Args:
        num_classes: Classes that a patch is searched for.
        config: The search.

    Attributes:
        values: The weights, float64 [classes].
        norms: Of the mask that counts, float64 [classes]: that of the successful epoch of the least mean norm, the last
            epoch's where there was none.
        is_searched: Whether a class's search goes on.
    """

    def __init__(self, num_classes: int, config: NeuralCleanseConfig) -> None:
        self._config = config
        self.values = torch.zeros(num_classes, dtype=torch.float64)
        self.norms = self.values.clone()
        self._least_mean = torch.full_like(self.values, torch.inf)
        self.is_searched = torch.ones_like(self.values, dtype=torch.bool)
        self._grown, self._shrunk = ~self.is_searched, ~self.is_searched
        self._successes, self._failures, self._no_smaller = (torch.zeros_like(self.values) for _ in range(3))

    def update(self, means: Tensor, turned: Tensor, norms: Tensor) -> None:
        """Take in an epoch of the searched classes.

        Args:
            means: Of the masks' norms over the epoch's steps, float64 [classes].
            turned: Shares of the images that were turned, float64 [classes].
            norms: Of the masks at the end, float64 [classes].
        """
        config, works = self._config, turned >= self._config.success
        is_smaller = self.is_searched & works & (means < self._least_mean)
        self._least_mean = torch.where(is_smaller, means, self._least_mean)
        self.norms = torch.where(is_smaller | (self.is_searched & self._least_mean.isinf()), norms, self.norms)
        self._no_smaller = torch.where(is_smaller | self._least_mean.isinf(), 0, self._no_smaller + 1)
        self.is_searched &= ~(self._grown & self._shrunk & (self._no_smaller >= config.stop_patience))
        self._successes = torch.where(works, self._successes + 1, 0)
        self._failures = torch.where(works, 0, self._failures + 1)
        starts = (self.values == 0) & (self._successes >= config.patience)
        grows = ~starts & (self._successes >= config.patience)
        shrinks = self._failures >= config.patience
        self.values = torch.where(grows, self.values * config.weight_factor, self.values)
        self.values = torch.where(shrinks, self.values / config.weight_factor**1.5, self.values)
        self.values = torch.where(starts, config.initial_weight, self.values)
        self._grown = (self._grown | grows) & ~starts
        self._shrunk = (self._shrunk | shrinks) & ~starts
        self._successes = torch.where(starts, 1, torch.where(grows, 0, self._successes))
        self._failures = torch.where(shrinks, 0, self._failures)
