"""An MLP on flat weights as a detector: the rival that knows of no symmetry at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.metanets.flat_mlp import FlatMLP, FlatMLPConfig
from zoovet.networks import Graph, Networks
from zoovet.rivals.fitting import (
    LabelledNetworks,
    TrainedRivalConfig,
    chosen_threshold,
    probabilities,
    train_model,
    training_and_validation,
)
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.population import Population, load_populations
from zoovet.tasks.random_streams import seeded_generator
from zoovet.tasks.vetting import as_batches, require_known_graphs
from zoovet.zoo import Zoo

__all__ = ["FlatMLPDetector", "FlatMLPDetectorConfig"]


@dataclass(frozen=True, kw_only=True)
class FlatMLPDetectorConfig(TrainedRivalConfig):
    """How the MLPs are built and trained; see also :class:`TrainedRivalConfig`.

    Attributes:
        num_layers: Hidden layers.
        widths: Features of a hidden layer that validation chooses from.
        weight_decays: AdamW's weight decays that validation chooses from.

    Raises:
        ZoovetError: A value out of its range, or nothing to choose from.
    """

    max_steps: int = 300
    validation_interval: int = 25
    augmentation: AugmentationConfig = field(default_factory=lambda: AugmentationConfig(weight_noise=0.1))
    num_layers: int = 2
    widths: tuple[int, ...] = (64, 256)
    weight_decays: tuple[float, ...] = (0.01, 1.0, 10.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("widths", "weight_decays"):
            if not getattr(self, name):
                raise ZoovetError(f"{name} must list at least one value to choose from")
        if min(self.widths) < 1 or self.num_layers < 1:
            raise ZoovetError(f"widths and num_layers must be at least 1, got {self.widths} and {self.num_layers}")
        if min(self.weight_decays) < 0:
            raise ZoovetError(f"weight_decays must be at least 0, got {self.weight_decays}")


@dataclass(frozen=True)
class FlatMLPDetector:
    """One MLP a graph, on weights standardized place by place over the training networks.

    ReLU and tanh networks of one shape get an MLP each: their weights are of other sizes, so that a mean and a variance
    of both together would standardize neither; and networks of several shapes can be read. Each MLP has half of the
    networks then; on validation networks one MLP for both was no better.

    Attributes:
        models: By graph, trained.
        threshold: Probability from which a network is flagged.
    """

    models: dict[Graph, FlatMLP]
    threshold: float

    @classmethod
    def fit(cls, zoo: Zoo, *, seed: int = 0, config: FlatMLPDetectorConfig | None = None) -> FlatMLPDetector:
        """Train on a zoo's training split; validation chooses step, width, weight decay and threshold.

        Args:
            zoo: The zoo, opened; its test split is not read.
            seed: Of initial values, batches and augmentation, at least 0.
            config: How; the default where left out.

        Raises:
            ZoovetError: The zoo has no poisoned networks, or a split lacks healthy or trojaned ones of a graph.
        """
        config = config or FlatMLPDetectorConfig()
        _, validation = training_and_validation(zoo)
        models = {}
        for graph_id in sorted(set(zoo.column("spec_id")[zoo.column("split") != "test"])):
            try:
                train, held_out = load_populations(zoo.select(zoo.column("spec_id") == graph_id))
            except ZoovetError as error:
                raise ZoovetError(f"{zoo.graphs[graph_id].describe()}: {error}") from error
            models[zoo.graphs[graph_id]] = _best_model(config, train, LabelledNetworks.of(held_out), seed)
        fitted = cls(models, 0.5)
        return cls(models, chosen_threshold(fitted.score(validation.networks), validation))

    def score(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Probability of a trojan: float32 [B], in the order of the networks.

        Raises:
            ZoovetError: Networks of a graph that it was not trained on, or with NaN or infinite weights.
        """
        batches = as_batches(networks)
        require_known_graphs(batches, tuple(self.models), "detector")
        return torch.cat([probabilities(self.models[batch.graph], [batch]) for batch in batches])


def _best_model(config: FlatMLPDetectorConfig, train: Population, validation: LabelledNetworks, seed: int) -> FlatMLP:
    """The MLP of the highest AUC on validation networks, all of them of one graph."""
    best: FlatMLP | None = None
    best_auc = -1.0
    for width, weight_decay in product(config.widths, config.weight_decays):
        built = FlatMLPConfig(width=width, num_layers=config.num_layers).with_input_shape(train.graphs)
        model = FlatMLP(built, seeded_generator(seed, "initial weights of the flat MLP detector"))
        auc = train_model(model, config, train, validation, seed=seed, weight_decay=weight_decay)
        if auc > best_auc:
            best, best_auc = model, auc
    assert best is not None, "the configuration lists at least one width and weight decay"
    return best
