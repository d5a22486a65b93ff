"""What a zoo of healthy and trojaned networks should hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.images import PatchRanges
from zoovet.images.sources import ImageSource
from zoovet.networks import Graph, small_cnn
from zoovet.zoo.attacks import Attack, Attackers, PatchAttack, shared_out
from zoovet.zoo.base_training import BaseTraining
from zoovet.zoo.recipe_parts import (
    Range,
    SplitShares,
    check_at_least,
    check_num_bases,
    check_range,
    check_widths,
    dataset_called,
    log_uniform,
    rounds,
    small_cnn_graphs,
)
from zoovet.zoo.samples import Schedule

__all__ = ["AttackPlan", "FineTuning", "TrojanRecipe"]


@dataclass(frozen=True)
class AttackPlan:
    """What a base is for.

    Attributes:
        attack: Its family of attacks.
        origin: ``fine_tuned`` (from the base), ``scratch`` (from random weights) or ``anchored`` (fine-tuned from the
            base, the poisoned network held near the healthy one).
    """

    attack: Attack
    origin: str


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """What makes a healthy and a trojaned network of a base: the same schedule for both, by Adam.

    Attributes:
        epochs: Passes over the base's training images, least and greatest (uniform, integers).
        learning_rate: Log-uniform.
        poison_rate: Share of the training images that get trigger and target, uniform; attacks of the recipe's list
            have their own.
    """

    epochs: tuple[int, int] = (4, 6)
    learning_rate: Range = (1e-3, 3e-3)
    poison_rate: Range = (0.1, 0.2)

    def __post_init__(self) -> None:
        check_range("finetune.epochs", self.epochs, above_zero=True)
        check_range("finetune.learning_rate", self.learning_rate, above_zero=True)
        check_range("finetune.poison_rate", self.poison_rate, most=1.0)


@dataclass(frozen=True, kw_only=True)
class TrojanRecipe:
    """A zoo of healthy and trojaned small CNNs: each base is fine-tuned twice, on clean and on poisoned images.

    Attributes:
        kind: What kind of recipe it is.
        dataset: Name of the image dataset, made gray; with ``images``, what these are called.
        images: Images of another origin than a dataset's name alone, or of another size, colour or look.
        num_bases: Bases; the zoo has twice as many networks.
        poisoned: Whether each base gets a poisoned descendant; without, the zoo has healthy ones only.
        activations: Hidden activations to choose from.
        channels: Channels of the convolutions.
        train_images: Training images a base draws from the dataset (all, where it has fewer).
        test_images: Test images that accuracies, ASR and RA are measured on; 0 for all.
        batch_size: Images an optimizer step.
        base: A base's training.
        finetune: The fine-tunings.
        trigger: What triggers are drawn from, where ``attacks`` is empty.
        attacks: Families of attacks, each with its triggers and its poison rate; every base has one of them, in
            proportion to their shares.
        attackers: What attackers start from.
        min_clean_accuracy: A base whose networks reach less on the test images is drawn again.
        min_asr: A base whose poisoned network has a lower attack success rate is drawn again; also the rate from
            which a network counts as trojaned.
        max_attempts: Draws of a base before the build gives up.
        split: Shares of the splits, by base.
        bases_per_shard: Bases in a shard: what an interrupted build loses at most, a worker.
        seed: Of everything.
    """

    kind: Literal["trojan"] = "trojan"
    dataset: str = "fashion-mnist"
    images: ImageSource | None = None
    num_bases: int = 500
    poisoned: bool = True
    activations: tuple[str, ...] = ("relu", "tanh")
    channels: tuple[int, ...] = (16, 16, 16)
    train_images: int = 10_000
    test_images: int = 0
    batch_size: int = 64
    base: BaseTraining = field(default_factory=BaseTraining)
    finetune: FineTuning = field(default_factory=FineTuning)
    trigger: PatchRanges = field(default_factory=lambda: PatchRanges(min_size=4, max_size=6, min_weight=0.8))
    attacks: tuple[Attack, ...] = ()
    attackers: Attackers = field(default_factory=Attackers)
    min_clean_accuracy: float = 0.65
    min_asr: float = 0.5
    max_attempts: int = 20
    split: SplitShares = field(default_factory=SplitShares)
    bases_per_shard: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", dataset_called(self.dataset, self.images, default="fashion-mnist"))
        for name in ("train_images", "batch_size", "max_attempts", "bases_per_shard"):
            check_at_least(name, getattr(self, name), 1)
        check_num_bases(self.num_bases)
        check_at_least("test_images", self.test_images, 0)
        check_at_least("seed", self.seed, 0)
        check_widths("channels", self.channels)
        if not self.activations:
            raise ZoovetError("activations must not be empty")
        for activation in self.activations:
            small_cnn(activation, channels=self.channels)
        for name in ("min_clean_accuracy", "min_asr"):
            if not 0 <= getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")

    @property
    def num_networks(self) -> int:
        """Networks in the zoo."""
        return self.num_bases * (2 if self.poisoned else 1)

    @property
    def num_shards(self) -> int:
        """Shards of the zoo."""
        return -(-self.num_bases // self.bases_per_shard)

    def graphs(self, image_shape: tuple[int, int, int], num_classes: int) -> dict[str, Graph]:
        """The graph of every activation, which says that its networks read images scaled to [-1, 1]."""
        return small_cnn_graphs(self.activations, self.channels, image_shape, num_classes)

    def attack_plans(self) -> list[AttackPlan]:
        """Every base's attack and origin. They stay where a base is drawn again: a hard attack keeps its share."""
        generator = np.random.default_rng([self.seed, 2**32 + 1])
        attacks = self.attacks or (PatchAttack(trigger=self.trigger, poison_rate=self.finetune.poison_rate),)
        origins = self.attackers.shares
        names, plans = list(origins), []
        for count in rounds(self.num_bases):
            which = shared_out([attack.share for attack in attacks], count, generator)
            starts = shared_out(list(origins.values()), count, generator)
            plans += [AttackPlan(attacks[attack], names[start]) for attack, start in zip(which, starts, strict=True)]
        return plans

    def draw_finetuning(self, attack: Attack, generator: np.random.Generator) -> tuple[Schedule, float]:
        """Draw the schedule of both fine-tunings, and the attack's poison rate."""
        least, greatest = self.finetune.epochs
        schedule = Schedule(
            optimizer="adam",
            learning_rate=log_uniform(self.finetune.learning_rate, generator),
            weight_decay=0.0,
            dropout=0.0,
            batch_size=self.batch_size,
            epochs=int(generator.integers(least, greatest + 1)),
        )
        return schedule, float(generator.uniform(*attack.poison_rate))
