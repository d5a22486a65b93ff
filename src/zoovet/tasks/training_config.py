"""How a metanetwork is trained, and where its training stands."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from zoovet.errors import ZoovetError, nearest

__all__ = ["InversionProgress", "LoggerName", "Progress", "TrainingConfig", "TrainingProgress"]

LoggerName = Literal["tensorboard", "wandb", "none"]
"""What a run's figures go to beside ``metrics.csv``."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a metanetwork is trained: AdamW, linear warm-up, then a cosine to zero, possibly a second one.

    Source of the second: Loshchilov and Hutter 2017, *SGDR: Stochastic Gradient Descent with Warm Restarts*, section 3.

    Attributes:
        max_steps: Optimizer steps.
        max_minutes: Time for training in minutes, validation included, inversion before it not; the learning rate then
            falls with time where that runs out before the steps do. Such a run depends on the machine's speed and on
            what else it has to do, and says where it was cut short. null sets no limit.
        batch_size: Networks a step.
        processes: Processes on this machine that share each step's networks: gradients are added up, one process
            validates and writes, and what comes out is the same up to rounding (and dropout, where there is any). A run
            may be resumed with another number.
        learning_rate: Highest learning rate.
        weight_decay: AdamW's, on matrices only.
        warmup_steps: Steps in which the learning rate rises from zero.
        closing_share: The last share of the training, for which the learning rate starts once more and falls to zero
            again; a task may have other losses in it. 0 has no such part.
        closing_factor: The learning rate that it starts with, as a share of the highest one.
        gradient_clip: Largest norm of the gradient; larger ones are scaled down to it.
        average_decay: Validation and checkpoints use a running average of the weights, of which each step keeps this
            share (less at the start); 0 uses the weights themselves.
        validation_interval: Steps between validations; an interrupted run resumes at the last one.
        patience: Validations without improvement after which training ends, the closing share undone if need be; null
            never ends it early.
        seed: Of initial weights, batches and everything else that is drawn.
        logger: What the figures go to beside metrics.csv; a run may be resumed with another one.

    Raises:
        ZoovetError: A value out of its range.
    """

    max_steps: int = 2000
    max_minutes: float | None = None
    batch_size: int = 32
    processes: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    closing_share: float = 0.0
    closing_factor: float = 0.3
    gradient_clip: float = 1.0
    average_decay: float = 0.99
    validation_interval: int = 100
    patience: int | None = None
    seed: int = 0
    logger: LoggerName = "tensorboard"

    def __post_init__(self) -> None:
        for name, least in (
            ("max_steps", 1),
            ("batch_size", 2),
            ("processes", 1),
            ("warmup_steps", 0),
            ("validation_interval", 1),
            ("seed", 0),
        ):
            if getattr(self, name) < least:
                raise ZoovetError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.processes > self.batch_size:
            raise ZoovetError(
                f"processes must be at most batch_size ({self.batch_size}), since they share its networks, got "
                f"{self.processes}"
            )
        for name in ("learning_rate", "closing_factor", "gradient_clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ZoovetError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.weight_decay < math.inf:
            raise ZoovetError(f"weight_decay must be at least 0 and finite, got {self.weight_decay}")
        for name in ("average_decay", "closing_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ZoovetError(f"max_minutes must be above 0, or null, got {self.max_minutes}")
        if self.logger not in get_args(LoggerName):
            raise ZoovetError(f"logger {self.logger!r} is unknown{nearest(str(self.logger), get_args(LoggerName))}")
        if self.patience is not None and self.patience < 1:
            raise ZoovetError(f"patience must be at least 1, or null, got {self.patience}")


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands.

    Attributes:
        step: Optimizer steps done.
        max_steps: Steps to do.
        fraction: How much of the training is done, in [0, 1], by steps or by time, whichever is further.
        seconds: Wall time of its steps and validations so far, those of earlier, interrupted sessions included.
        loss: Loss of the last step.
        figures: The last validation's figures by name; ``None`` before the first.
        ended: Why it ended before its last step; empty where it did not.
    """

    step: int
    max_steps: int
    fraction: float
    seconds: float
    loss: float
    figures: dict[str, float] | None
    ended: str = ""


@dataclass(frozen=True)
class InversionProgress:
    """Where inversion stands, which comes before the first step of a training that needs it.

    Attributes:
        num_networks: Networks done.
        total: Networks to do, for training and validation.
        seconds: Wall time so far.
    """

    num_networks: int
    total: int
    seconds: float


Progress = Callable[[TrainingProgress | InversionProgress], None]
"""Called after every few networks that were inverted, after every step and every validation."""
