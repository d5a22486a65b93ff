"""What trainings of a park are drawn from: optimizer, rates and their schedule, epochs, augmentation, regularizers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.zoo.park.augmentation import AUGMENTATIONS
from zoovet.zoo.park.families.family import Sizes, check_sizes
from zoovet.zoo.park.images import SCALINGS
from zoovet.zoo.recipe_parts import Range, check_at_least, check_choices, check_range, log_uniform
from zoovet.zoo.samples import Schedule
from zoovet.zoo.training import INITIALIZERS

__all__ = ["RATE_SCHEDULES", "DrawnTraining", "ParkTraining", "rate_of_epoch"]

RATE_SCHEDULES = ("constant", "cosine")

_LATER = {"mixup": 10.0, "label_smoothing": 1.0, "dropout": 1.0}
"""Choices that came later, with what they stay below."""


@dataclass(frozen=True)
class DrawnTraining:
    """How a base's networks are trained.

    Attributes:
        init: Initializer.
        schedule: Of a training from random weights; its rate is the first epoch's.
        tuning: Of a fine-tuning of a base.
        rate_schedule: How the rate changes from epoch to epoch.
        augmentation: What is done to training images, anew each epoch.
        num_images: Training images.
        mixup: Strength of mixup, 0 for none.
        label_smoothing: Share of each label that goes to all classes alike.
    """

    init: str
    schedule: Schedule
    tuning: Schedule
    rate_schedule: str
    augmentation: str
    num_images: int
    mixup: float = 0.0
    label_smoothing: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ParkTraining:
    """Ranges of trainings.

    Attributes:
        images: Training images of a base (all, where there are fewer).
        epochs: Passes over them.
        batch_size: Images an optimizer step, choices.
        optimizer: Choices: sgd (momentum 0.9), adam, rmsprop.
        sgd_learning_rate: Of the first epoch, log-uniform.
        adaptive_learning_rate: Of adam and rmsprop, log-uniform.
        rate_schedule: Choices: constant, or cosine, which falls to 0 from epoch to epoch.
        weight_decay: Log-uniform.
        init: Initializers to choose from.
        augmentation: Choices: none, crop (moved by up to an eighth), flip, erase (a rectangle), or several joined by _.
        scaling: What networks read, choices; dealt to architectures and image sets.
        tuning_epochs: Passes over the images where a base is fine-tuned.
        tuning_rate: Rate of a fine-tuning compared with the base's, log-uniform.
        mixup: Strengths to choose from (the α of the Beta distribution), 0 for none: images are mixed in pairs.
        label_smoothing: Shares of each label that go to all classes alike, choices, at least 0 and below 1.
        dropout: Shares of the values behind each activation that are dropped, choices, at least 0 and below 1.
    """

    images: Sizes = (5000, 7000)
    epochs: Sizes = (6, 10)
    batch_size: tuple[int, ...] = (32, 64, 128)
    optimizer: tuple[str, ...] = ("sgd", "adam")
    sgd_learning_rate: Range = (0.01, 0.1)
    adaptive_learning_rate: Range = (1e-3, 5e-3)
    rate_schedule: tuple[str, ...] = RATE_SCHEDULES
    weight_decay: Range = (1e-6, 5e-4)
    init: tuple[str, ...] = ("he", "glorot")
    augmentation: tuple[str, ...] = AUGMENTATIONS
    scaling: tuple[str, ...] = SCALINGS
    tuning_epochs: Sizes = (3, 5)
    tuning_rate: Range = (0.2, 1.0)
    mixup: tuple[float, ...] = (0.0,)
    label_smoothing: tuple[float, ...] = (0.0,)
    dropout: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        check_sizes("training.images", self.images, 1, 10_000_000)
        check_sizes("training.epochs", self.epochs, 1, 10_000)
        check_sizes("training.tuning_epochs", self.tuning_epochs, 1, 10_000)
        check_at_least("training.batch_size", min(self.batch_size, default=0), 1)
        check_choices("training.optimizer", self.optimizer, ("sgd", "adam", "rmsprop"))
        check_choices("training.rate_schedule", self.rate_schedule, RATE_SCHEDULES)
        check_choices("training.init", self.init, INITIALIZERS)
        check_choices("training.augmentation", self.augmentation, AUGMENTATIONS)
        check_choices("training.scaling", self.scaling, SCALINGS)
        for name in ("sgd_learning_rate", "adaptive_learning_rate", "weight_decay", "tuning_rate"):
            check_range(f"training.{name}", getattr(self, name), above_zero=True)
        for name, most in _LATER.items():
            values = getattr(self, name)
            if not values or not all(0 <= value < most for value in values):
                raise ZoovetError(
                    f"training.{name} must hold numbers of at least 0 and below {most:g}, got {list(values)}; 0 is none"
                )

    def unused_later_keys(self) -> list[str]:
        """Keys that recipes had not always, where this one does not use them: nothing is drawn of them or kept."""
        return [name for name in _LATER if getattr(self, name) == (0.0,)]

    def draw(self, generator: np.random.Generator, later: np.random.Generator) -> DrawnTraining:
        """Draw a training; of the second generator what recipes had not always, so that the rest stays as it was."""
        mixup, label_smoothing, dropout = (float(later.choice(getattr(self, name))) for name in _LATER)
        optimizer = str(generator.choice(self.optimizer))
        rates = self.sgd_learning_rate if optimizer == "sgd" else self.adaptive_learning_rate
        schedule = Schedule(
            optimizer=optimizer,
            learning_rate=log_uniform(rates, generator),
            weight_decay=log_uniform(self.weight_decay, generator),
            dropout=dropout,
            batch_size=int(generator.choice(self.batch_size)),
            epochs=int(generator.integers(self.epochs[0], self.epochs[1] + 1)),
        )
        tuning = replace(
            schedule,
            learning_rate=schedule.learning_rate * log_uniform(self.tuning_rate, generator),
            epochs=int(generator.integers(self.tuning_epochs[0], self.tuning_epochs[1] + 1)),
        )
        return DrawnTraining(
            init=str(generator.choice(self.init)),
            schedule=schedule,
            tuning=tuning,
            rate_schedule=str(generator.choice(self.rate_schedule)),
            augmentation=str(generator.choice(self.augmentation)),
            num_images=int(generator.integers(self.images[0], self.images[1] + 1)),
            mixup=mixup,
            label_smoothing=label_smoothing,
        )


def rate_of_epoch(schedule: Schedule, rate_schedule: str, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0."""
    if rate_schedule == "constant":
        return schedule.learning_rate
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / schedule.epochs))
