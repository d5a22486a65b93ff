"""What a zoo for predicting test accuracies from weights should hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from zoovet.errors import ZoovetError
from zoovet.images.sources import ImageSource
from zoovet.networks import Graph, small_cnn
from zoovet.zoo.base_training import BaseTraining
from zoovet.zoo.recipe_parts import (
    SplitShares,
    check_at_least,
    check_num_bases,
    check_widths,
    dataset_called,
    small_cnn_graphs,
)

__all__ = ["GeneralizationRecipe"]


def _wide_ranges() -> BaseTraining:
    return BaseTraining(
        epochs=8,
        init_std=(0.01, 0.5),
        sgd_learning_rate=(5e-4, 5e-2),
        adaptive_learning_rate=(2e-4, 2e-2),
        weight_decay=(1e-8, 1e-2),
        dropout=(0.0, 0.5),
        train_fraction=(0.1, 1.0),
    )


@dataclass(frozen=True, kw_only=True)
class GeneralizationRecipe:
    """A zoo of small CNNs that differ in how they were trained, each with checkpoints along its training.

    The hyperparameters that vary are those of the Small CNN Zoo (Unterthiner et al. 2020, "Predicting Neural Network
    Accuracy from Weights", section 4): activation, initializer and its standard deviation, optimizer, learning rate,
    weight decay, dropout, share of the training images. Ranges are wide, so that accuracies reach from chance to the
    best that the architecture can do.

    Attributes:
        kind: What kind of recipe it is.
        dataset: Name of the image dataset, made gray; with ``images``, what these are called.
        images: Images of another origin than a dataset's name alone, or of another size, colour or look.
        num_bases: Trainings; each gives as many networks as there are checkpoints.
        activations: Hidden activations to choose from.
        channels: Channels of the convolutions.
        train_images: Training images a base draws from the dataset (all, where it has fewer), of which it uses its
            ``train_fraction``.
        test_images: Test images that accuracies and losses are measured on, the first ones; 0 for all.
        measured_train_images: Training images that training accuracies and losses are measured on, at most: the first
            of the base's own.
        batch_size: Images an optimizer step.
        base: A base's training. A learning rate under which weights or losses do not stay finite is drawn again, with
            everything else of the base.
        checkpoints: Epochs after which the network is stored, ascending; 0 is the network before training.
        max_attempts: Draws of a base before the build gives up.
        split: Shares of the splits, by base: checkpoints of one training are all in one.
        bases_per_shard: Bases in a shard: what an interrupted build loses at most, a worker.
        seed: Of everything.
    """

    kind: Literal["generalization"] = "generalization"
    dataset: str = "cifar10"
    images: ImageSource | None = None
    num_bases: int = 1200
    activations: tuple[str, ...] = ("relu", "tanh")
    channels: tuple[int, ...] = (16, 16, 16)
    train_images: int = 50_000
    test_images: int = 0
    measured_train_images: int = 5000
    batch_size: int = 64
    base: BaseTraining = field(default_factory=_wide_ranges)
    checkpoints: tuple[int, ...] = (1, 3, 8)
    max_attempts: int = 20
    split: SplitShares = field(default_factory=SplitShares)
    bases_per_shard: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", dataset_called(self.dataset, self.images, default="cifar10"))
        positive = ("train_images", "measured_train_images", "batch_size", "max_attempts")
        for name in (*positive, "bases_per_shard"):
            check_at_least(name, getattr(self, name), 1)
        check_num_bases(self.num_bases)
        check_at_least("test_images", self.test_images, 0)
        check_at_least("seed", self.seed, 0)
        check_widths("channels", self.channels)
        if not self.activations:
            raise ZoovetError("activations must not be empty")
        for activation in self.activations:
            small_cnn(activation, channels=self.channels)
        ascending = tuple(sorted(set(self.checkpoints)))
        if not ascending or ascending != self.checkpoints or ascending[0] < 0 or ascending[-1] > self.base.epochs:
            raise ZoovetError(
                f"checkpoints must be epochs from 0 to base.epochs = {self.base.epochs}, at least one, each once and "
                f"ascending, got {list(self.checkpoints)}"
            )

    @property
    def num_networks(self) -> int:
        """Networks in the zoo."""
        return self.num_bases * len(self.checkpoints)

    @property
    def num_shards(self) -> int:
        """Shards of the zoo."""
        return -(-self.num_bases // self.bases_per_shard)

    def graphs(self, image_shape: tuple[int, int, int], num_classes: int) -> dict[str, Graph]:
        """The graph of every activation, which says that its networks read images scaled to [-1, 1]."""
        return small_cnn_graphs(self.activations, self.channels, image_shape, num_classes)
