"""What every task's training has in common: the Lightning module around a metanetwork."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from zoovet.tasks.followers import Followers
from zoovet.tasks.learning_rate import is_closing, learning_rate_factor
from zoovet.tasks.random_streams import seeded_modules
from zoovet.tasks.shares import Share
from zoovet.tasks.training_config import TrainingConfig

__all__ = ["TaskModule", "Validation"]

_LOG_INTERVAL = 10
"""Steps from one logged to the next."""


@dataclass(frozen=True)
class Validation:
    """What a validation measured.

    Attributes:
        figures: By name.
        score: By which the best validation is chosen: the larger one, entry by entry.
    """

    figures: dict[str, float]
    score: tuple[float, ...]


class TaskModule(LightningModule):
    """A model in training. A task says what a step's loss is, what to validate and what to save.

    Every draw of step k depends on the seed and k alone, so nothing but weights and optimizer needs to be kept for a
    resumed run to end bit for bit where an uninterrupted one does.

    Args:
        model: What is trained.
        config: How.

    Attributes:
        share: Which networks of a step this process learns on.
        followers: The processes that have the other shares, where there are any.
        loss_of_step: The last step's loss, of all shares.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.average: AveragedModel | None = None
        if config.average_decay > 0:
            self.average = AveragedModel(model, multi_avg_fn=_averaging(config.average_decay))
        self.validation: Validation | None = None
        self.share = Share()
        self.followers: Followers | None = None
        self.loss_of_step = math.nan
        self._figures: dict[str, float] = {}
        self._share_of_loss: Tensor | None = None
        self._log_interval = min(_LOG_INTERVAL, config.validation_interval)
        self.time_fraction: Callable[[], float] = lambda: 0.0
        self.tell_inverted: Callable[[int, int], None] = lambda done, total: None

    @abstractmethod
    def loss_at(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The mean loss of a step's networks, those of :attr:`share`, and further figures of them for the log."""

    @abstractmethod
    def validate(self, model: nn.Module) -> Validation:
        """Measure a model, in evaluation mode and without gradients, on validation networks."""

    @abstractmethod
    def describe(self, validation: Validation) -> dict[str, Any]:
        """JSON values that a checkpoint needs beside the weights, given the validation that it was chosen by."""

    def extra_tensors(self) -> dict[str, Tensor]:
        """Tensors that a checkpoint needs beside the weights; none unless a task says so."""
        return {}

    @property
    def best_guess(self) -> nn.Module:
        """What is validated and saved: the average of the weights, where there is one."""
        if self.average is None:
            return self.model
        averaged: nn.Module = self.average.module
        return averaged

    def fraction_done(self, step: int) -> float:
        """How much of the training is done before a step, in [0, 1], by steps or by time."""
        return min(1.0, max(step / self.config.max_steps, self.time_fraction()))

    def is_closing(self, step: int) -> bool:
        """Whether a step belongs to the training's closing share."""
        return is_closing(self.fraction_done(step), self.config.closing_share)

    def train_dataloader(self) -> range:
        """Steps until the next validation. The batches themselves are drawn by :meth:`loss_at`."""
        return range(min(self.config.validation_interval, self.config.max_steps - self.global_step))

    def val_dataloader(self) -> range:
        """One item: :meth:`validate` goes through the networks itself."""
        return range(1)

    @property
    def learned(self) -> list[nn.Parameter]:
        """The parameters that training changes."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def share_of_loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """What this process adds to the mean loss of a step's batch, and figures of its networks."""
        purpose = "modules" if self.share.index == 0 else f"modules of share {self.share.index}"
        with seeded_modules(self.config.seed, purpose, step):
            loss, figures = self.loss_at(step)
        if self.share.count > 1:
            size = self.config.batch_size
            loss = loss * (self.share.size(size) / size)
        return loss, figures

    def on_train_start(self) -> None:
        """Let the others begin, now that all that they need is there."""
        if self.followers is not None:
            self.followers.start(self)

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        """A step's loss."""
        if self.followers is not None:
            self.followers.begin(self.global_step, self.time_fraction(), self.learned)
        loss, self._figures = self.share_of_loss(self.global_step)
        self._share_of_loss = loss.detach()
        return loss

    def on_after_backward(self) -> None:
        """Take the other shares' gradients too; log the step."""
        assert self._share_of_loss is not None
        if self.followers is None:
            self.loss_of_step = float(self._share_of_loss)
        else:
            self.loss_of_step = self.followers.gather(self.learned, self._share_of_loss)
        if self.global_step % self._log_interval == 0:
            self._log("train", self.global_step + 1, {"loss": self.loss_of_step, **self._figures})

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs to have a share of the steps: no average, and nobody to tell of progress."""
        state = dict(super().__getstate__())
        state["_modules"] = {name: module for name, module in state["_modules"].items() if name != "average"}
        for name in ("followers", "average", "time_fraction", "tell_inverted"):
            state.pop(name, None)
        return state

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the average follow."""
        if self.average is not None:
            self.average.update_parameters(self.model)

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Measure the model as it stands."""
        self.validation = self.validate(self.best_guess)
        self._log("validation", self.global_step, self.validation.figures)

    def _log(self, where: str, step: int, figures: Mapping[str, float]) -> None:
        """Log figures under the number of steps done. ``LightningModule.log`` costs milliseconds a step."""
        for logger in self.loggers:
            logger.log_metrics({f"{where}/{name}": value for name, value in figures.items()}, step)

    def configure_optimizers(self) -> Any:
        """AdamW whose learning rate follows :func:`learning_rate_factor`."""
        matrices = [parameter for parameter in self.model.parameters() if parameter.ndim >= 2]
        others = [parameter for parameter in self.model.parameters() if parameter.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = AdamW([group for group in groups if group["params"]], lr=self.config.learning_rate, fused=True)
        scheduler = LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(
                step,
                self.fraction_done(step),
                self.config.warmup_steps,
                closing_share=self.config.closing_share,
                closing_factor=self.config.closing_factor,
            ),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    """Exponential average whose decay after k steps is at most (1 + k) / (10 + k), so that it forgets the beginning."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor | int) -> None:
        steps = int(num_averaged)
        torch._foreach_lerp_(averaged, current, 1.0 - min(decay, (1 + steps) / (10 + steps)))

    return update
