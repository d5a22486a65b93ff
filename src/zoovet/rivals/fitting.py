"""What rival detectors have in common: networks to fit on, the training of a model, and the choice of a threshold."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from zoovet.errors import ZoovetError
from zoovet.metanets.layer_units import LayerUnits
from zoovet.networks import Graph, Networks
from zoovet.tasks.augmentation import AugmentationConfig, draw_augmented
from zoovet.tasks.calibration_fitting import accuracy_threshold
from zoovet.tasks.detector import logits_of
from zoovet.tasks.learning_rate import learning_rate_factor
from zoovet.tasks.population import Population, load_populations
from zoovet.tasks.random_streams import IndexStream, seeded_generator
from zoovet.tasks.vetting import as_batches, require_known_graphs
from zoovet.zoo import Zoo

__all__ = [
    "LabelledNetworks",
    "RivalDetector",
    "TrainedRival",
    "TrainedRivalConfig",
    "chosen_threshold",
    "probabilities",
    "train_model",
    "training_and_validation",
]

PIECE = 128
"""Networks that a model reads at a time when it is not trained."""


class RivalDetector(Protocol):
    """A detector that a metanetwork is compared with: one class with ``fit`` and ``score``.

    Attributes:
        threshold: Score from which a network is flagged; chosen on validation networks.
    """

    @property
    def threshold(self) -> float:
        """Score from which a network is flagged."""

    @classmethod
    def fit(cls, zoo: Zoo, *, seed: int = 0) -> Self:
        """Fit on a zoo's training split, tuned on its validation split; the test split is not read."""

    def score(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Higher for networks that are more likely trojaned: float32 [B], in the order of the networks."""


@dataclass(frozen=True)
class LabelledNetworks:
    """Networks sorted by graph, with what they are.

    Attributes:
        networks: A batch a graph.
        trojaned: bool [n], in the order of the batches.
    """

    networks: list[Networks]
    trojaned: Tensor

    @classmethod
    def of(cls, population: Population) -> LabelledNetworks:
        """All networks of a population."""
        batch = population.batch(torch.arange(len(population)))
        return cls(batch.networks, population.trojaned[batch.indices])


def training_and_validation(zoo: Zoo) -> tuple[LabelledNetworks, LabelledNetworks]:
    """The labelled networks of a zoo's training and validation splits.

    Raises:
        ZoovetError: The zoo has no poisoned networks, or a split lacks healthy or trojaned ones.
    """
    train, validation = load_populations(zoo)
    return LabelledNetworks.of(train), LabelledNetworks.of(validation)


def chosen_threshold(scores: Tensor, validation: LabelledNetworks) -> float:
    """The threshold of the highest accuracy on the validation networks, given their scores."""
    return accuracy_threshold(scores, validation.trojaned)[0]


@dataclass(frozen=True, kw_only=True)
class TrainedRivalConfig:
    """How a rival's model is trained by gradients; each rival's own configuration adds what the model is.

    Attributes:
        max_steps: Optimizer steps.
        batch_size: Networks a step; siblings come in one batch.
        learning_rate: Highest of AdamW's, which rises over the first twentieth of the steps and falls as a cosine.
        validation_interval: Steps between validations, of which the best one is kept.
        augmentation: What is done to training networks each time they are drawn.

    Raises:
        ZoovetError: A value out of its range.
    """

    max_steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-3
    validation_interval: int = 50
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        for name, least in (("max_steps", 1), ("batch_size", 2), ("validation_interval", 1)):
            if getattr(self, name) < least:
                raise ZoovetError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ZoovetError(f"learning_rate must be above 0 and finite, got {self.learning_rate}")


def train_model(
    model: nn.Module,
    config: TrainedRivalConfig,
    train: Population,
    validation: LabelledNetworks,
    *,
    seed: int,
    weight_decay: float = 0.01,
) -> float:
    """Train a model in place by cross-entropy; it ends as it was at the best validation, and in evaluation mode.

    Args:
        model: From a list of networks to logits [B, 1], in the order of the list.
        config: How.
        train: Networks to train on.
        validation: Networks that choose the step: by AUC, among equal ones by cross-entropy.
        seed: Of batches and augmentation, at least 0.
        weight_decay: AdamW's.

    Returns:
        AUC on the validation networks.

    Raises:
        ZoovetError: The model's logits are no longer finite.
    """
    stream = IndexStream(torch.arange(len(train)), groups=train.base_of, seed=seed, purpose="batches")
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=weight_decay)
    steps = config.max_steps
    schedule = LambdaLR(optimizer, lambda step: learning_rate_factor(step, step / steps, steps // 20))
    best, best_score = copy.deepcopy(model.state_dict()), (-1.0, -math.inf)
    for step in range(steps):
        model.train()
        generator = seeded_generator(seed, "augmentation", step)
        indices = stream.take(step * config.batch_size, config.batch_size)
        batch, views = draw_augmented(train, indices, config.augmentation, generator)
        logits = model([view.apply(own) for view, own in zip(views, batch.networks, strict=True)]).squeeze(1)
        loss = functional.binary_cross_entropy_with_logits(logits, train.trojaned[batch.indices].to(logits))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % config.validation_interval == 0 or step + 1 == steps:
            score = _validation_score(model.eval(), validation)
            if score > best_score:
                best, best_score = copy.deepcopy(model.state_dict()), score
    model.load_state_dict(best)
    model.requires_grad_(False)
    return best_score[0]


def _validation_score(model: nn.Module, validation: LabelledNetworks) -> tuple[float, float]:
    """AUC, and minus the cross-entropy, of a model in evaluation mode."""
    with torch.no_grad():
        logits = logits_of(model, validation.networks, PIECE)
    if not bool(torch.isfinite(logits).all()):
        raise ZoovetError("the detector's scores are no longer finite; lower learning_rate")
    loss = functional.binary_cross_entropy_with_logits(logits, validation.trojaned.to(logits))
    return float(roc_auc_score(validation.trojaned.numpy(), logits.numpy())), -float(loss)


def probabilities(model: nn.Module, networks: Sequence[Networks]) -> Tensor:
    """Probabilities of a trojan, float32 [B], by a model that gives logits [B, 1], in the order of the batches."""
    with torch.no_grad():
        return torch.sigmoid(logits_of(model, networks, PIECE))


@dataclass(frozen=True)
class TrainedRival:
    """A rival detector that is a model trained by :func:`train_model`. Each rival says what its model is.

    Attributes:
        model: Trained.
        graphs: What it was trained on.
        threshold: Probability from which a network is flagged.
    """

    model: nn.Module
    graphs: tuple[Graph, ...]
    threshold: float

    @classmethod
    def _trained(
        cls, zoo: Zoo, config: TrainedRivalConfig, seed: int, build: Callable[[Sequence[Graph]], nn.Module]
    ) -> Self:
        """Build a model for the graphs of a zoo's training networks, train it, and choose its threshold.

        Raises:
            ZoovetError: The zoo has no poisoned networks, a split lacks healthy or trojaned ones, or validation
                networks are of a graph that no training network has.
        """
        train, held_out = load_populations(zoo)
        validation = LabelledNetworks.of(held_out)
        require_known_graphs(validation.networks, train.graphs, "detector")
        model = build(train.graphs)
        if isinstance(model, LayerUnits):
            model.measure(train.everything().networks)
        train_model(model, config, train, validation, seed=seed)
        return cls(model, train.graphs, chosen_threshold(probabilities(model, validation.networks), validation))

    def score(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Probability of a trojan: float32 [B], in the order of the networks.

        Raises:
            ZoovetError: Networks of a graph that it was not trained on, or with NaN or infinite weights.
        """
        batches = as_batches(networks)
        require_known_graphs(batches, self.graphs, "detector")
        return probabilities(self.model, batches)
