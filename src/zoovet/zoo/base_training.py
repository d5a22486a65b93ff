"""What the training of a network that starts from nothing is drawn from, and the draw."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zoovet.zoo.recipe_parts import Range, check_at_least, check_choices, check_range, log_uniform
from zoovet.zoo.samples import Schedule
from zoovet.zoo.training import INITIALIZERS, OPTIMIZERS

__all__ = ["BaseTraining", "DrawnTraining", "base_seed", "is_base_seed"]


@dataclass(frozen=True)
class DrawnTraining:
    """One base's training, drawn.

    Attributes:
        init: Initializer.
        init_std: Standard deviation of the ``normal`` and ``truncated_normal`` ones; drawn for the others too.
        schedule: How it is trained.
        train_fraction: Share of its training images that is used.
    """

    init: str
    init_std: float
    schedule: Schedule
    train_fraction: float

    @property
    def facts(self) -> dict[str, Any]:
        """What a zoo's row says of it, by column."""
        drawn = {name: value for name, value in vars(self).items() if name != "schedule"}
        return {**drawn, **asdict(self.schedule)}


@dataclass(frozen=True, kw_only=True)
class BaseTraining:
    """What a base network's training is drawn from.

    Attributes:
        epochs: Passes over the base's training images.
        inits: Initializers to choose from.
        init_std: Standard deviation of the ``normal`` and ``truncated_normal`` ones, log-uniform.
        optimizers: Optimizers to choose from.
        sgd_learning_rate: Log-uniform; with momentum 0.9.
        adaptive_learning_rate: Of ``adam`` and ``rmsprop``, log-uniform.
        weight_decay: Log-uniform.
        dropout: Uniform.
        train_fraction: Share of the base's training images that is used, uniform.
    """

    epochs: int = 6
    inits: tuple[str, ...] = INITIALIZERS
    init_std: Range = (0.1, 0.3)
    optimizers: tuple[str, ...] = OPTIMIZERS
    sgd_learning_rate: Range = (0.01, 0.1)
    adaptive_learning_rate: Range = (1e-3, 1e-2)
    weight_decay: Range = (1e-8, 1e-3)
    dropout: Range = (0.0, 0.1)
    train_fraction: Range = (0.5, 1.0)

    def __post_init__(self) -> None:
        check_at_least("base.epochs", self.epochs, 1)
        check_choices("base.inits", self.inits, INITIALIZERS)
        check_choices("base.optimizers", self.optimizers, OPTIMIZERS)
        for name in ("init_std", "sgd_learning_rate", "adaptive_learning_rate", "weight_decay"):
            check_range(f"base.{name}", getattr(self, name), above_zero=True)
        check_range("base.dropout", self.dropout, most=0.9)
        check_range("base.train_fraction", self.train_fraction, above_zero=True, most=1.0)

    def draw(self, batch_size: int, generator: np.random.Generator) -> DrawnTraining:
        """Draw a base's training; ``batch_size`` images an optimizer step."""
        init = str(generator.choice(self.inits))
        optimizer = str(generator.choice(self.optimizers))
        rates = self.sgd_learning_rate if optimizer == "sgd" else self.adaptive_learning_rate
        schedule = Schedule(
            optimizer=optimizer,
            learning_rate=log_uniform(rates, generator),
            weight_decay=log_uniform(self.weight_decay, generator),
            dropout=float(generator.uniform(*self.dropout)),
            batch_size=batch_size,
            epochs=self.epochs,
        )
        init_std = log_uniform(self.init_std, generator)
        return DrawnTraining(init, init_std, schedule, float(generator.uniform(*self.train_fraction)))


def base_seed(recipe_seed: int, base_id: int, attempt: int) -> int:
    """The seed of one attempt at a base: 63 bits of a hash of the recipe's seed, the base and the attempt."""
    return int(np.random.SeedSequence([recipe_seed, base_id, attempt]).generate_state(1, np.uint64)[0] >> 1)


def is_base_seed(seed: int, recipe_seed: int, base_id: int, max_attempts: int) -> bool:
    """Whether a seed is that of one of a base's attempts."""
    return any(base_seed(recipe_seed, base_id, attempt) == seed for attempt in range(max_attempts))
