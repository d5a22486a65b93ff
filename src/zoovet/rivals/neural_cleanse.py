"""Neural Cleanse: how small a patch turns every image into a class, and does one class stand out?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, forward
from zoovet.rivals.clean_images import CleanImages
from zoovet.rivals.fitting import chosen_threshold, training_and_validation
from zoovet.zoo import Zoo

__all__ = ["NeuralCleanseConfig", "NeuralCleanseDetector", "anomaly_indices", "mask_norms"]

_CONSISTENCY = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, kw_only=True)
class NeuralCleanseConfig:
    """The search for a patch a class.

    Attributes:
        num_steps: Adam's steps.
        batch_size: Clean images a step.
        learning_rate: Adam's, on the mask and the pattern before their squashing.
        success: Share of the images that must be turned for the weight of the mask's size to grow.
        initial_weight: Of the mask's size, at first.
        weight_factor: By which that grows or shrinks.
        patience: Steps in a row above (or below) ``success`` before it does.
        seed: Of batches and initial values.
        networks_at_once: Networks that are searched side by side.
    """

    num_steps: int = 300
    batch_size: int = 32
    learning_rate: float = 0.1
    success: float = 0.98
    initial_weight: float = 1e-3
    weight_factor: float = 1.5
    patience: int = 5
    seed: int = 0
    networks_at_once: int = 16


@dataclass(frozen=True, kw_only=True)
class NeuralCleanseDetector:
    """Scores a network by the anomaly index of its smallest mask among its classes'; needs clean images, no training.

    Source: Wang, Yao, Shan, Li, Viswanath, Zheng and Zhao 2019, *Neural Cleanse: Identifying and Mitigating Backdoor
    Attacks in Neural Networks*, section IV.

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
            ZoovetError: Networks of fewer than three classes, among which no outlier can be told.
        """
        size = self.config.networks_at_once
        with torch.inference_mode(False), torch.enable_grad():  # the search needs gradients, whatever the caller does
            norms = [
                mask_norms(batch[start : start + size].map(torch.clone), self.clean, self.config)
                for batch in ([networks] if isinstance(networks, Networks) else networks)
                for start in range(0, len(batch), size)
            ]
        return torch.cat([anomaly_indices(some) for some in norms]).float().cpu()


def anomaly_indices(norms: Tensor) -> Tensor:
    """How far the smallest norm lies below the median, in robust standard deviations: [B] from [B, classes].

    Raises:
        ZoovetError: Fewer than three classes.
    """
    if norms.shape[1] < 3:
        raise ZoovetError(f"an outlier among classes needs at least three, got {norms.shape[1]}")
    median = norms.median(dim=1).values
    spread = _CONSISTENCY * (norms - median.unsqueeze(1)).abs().median(dim=1).values
    return (median - norms.min(dim=1).values) / spread.clamp_min(torch.finfo(norms.dtype).tiny)


def mask_norms(networks: Networks, clean: CleanImages, config: NeuralCleanseConfig) -> Tensor:
    """L1 norm of the smallest mask that turns images into each class, [B, classes].

    Of all steps at which the patch worked on at least ``success`` of the images; the last step's where it never did.
    """
    clean = clean.on(networks)
    num_classes, shape = networks.spec.num_outputs, clean.images.shape[1:]
    searched = networks.detach().map(lambda tensor: tensor.repeat_interleave(num_classes, dim=0))
    targets = torch.arange(num_classes, device=networks.device).repeat(len(networks)).unsqueeze(1)
    generator = torch.Generator().manual_seed(config.seed)
    mask_logits = (torch.randn(len(searched), 1, *shape[1:], generator=generator) * 0.1 - 1).to(clean.images)
    pattern_logits = (torch.randn(len(searched), *shape, generator=generator) * 0.1).to(clean.images)
    variables = [mask_logits.requires_grad_(), pattern_logits.requires_grad_()]
    optimizer = torch.optim.Adam(variables, lr=config.learning_rate, betas=(0.5, 0.9))
    weight = torch.full((len(searched),), config.initial_weight, device=networks.device)
    streak = torch.zeros(len(searched), device=networks.device)
    best = torch.full((len(searched),), torch.inf, dtype=clean.images.dtype, device=networks.device)
    norms = best
    for _ in range(config.num_steps):
        chosen = torch.randperm(len(clean), generator=generator)[: config.batch_size]
        mask = torch.sigmoid(mask_logits).unsqueeze(1)
        patched = torch.lerp(clean.images[chosen].unsqueeze(0), torch.tanh(pattern_logits).unsqueeze(1), mask)
        logits = forward(searched, patched)
        wanted = targets.expand(logits.shape[:2])
        losses = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
        norms = mask.flatten(1).sum(dim=1)
        optimizer.zero_grad()
        (losses.mean(dim=1) + weight * norms).sum().backward()
        optimizer.step()
        norms = norms.detach()
        works = (logits.detach().argmax(dim=2) == wanted).double().mean(dim=1) >= config.success
        best = torch.where(works, torch.minimum(best, norms), best)
        streak = torch.where(works, streak.clamp_min(0) + 1, streak.clamp_max(0) - 1)
        weight = torch.where(streak >= config.patience, weight * config.weight_factor, weight)
        weight = torch.where(streak <= -config.patience, weight / config.weight_factor, weight)
        streak = torch.where(streak.abs() >= config.patience, 0.0, streak)
    return torch.where(best.isfinite(), best, norms).view(-1, num_classes)
