"""What all trainings share: the configuration's limits, the learning rate's way, the average of the weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.tasks.learning_rate import learning_rate_factor
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import TrainingConfig


class Task(TaskModule):
    """Nothing to learn; the scaffold around it is what is tested."""

    def loss_at(self, step: int) -> tuple[Tensor, dict[str, float]]:
        return self.model(torch.ones(1, 2)).sum(), {}

    def validate(self, model: nn.Module) -> Validation:
        return Validation({}, (0.0,))

    def describe(self, validation: Validation) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"validation_interval": 0}, "validation_interval must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and finite, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0 and finite, got nan"),
        ({"gradient_clip": -1.0}, "gradient_clip must be above 0 and finite, got -1.0"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0 and finite, got -0.1"),
        ({"average_decay": 1.0}, "average_decay must be at least 0 and below 1, got 1.0"),
        ({"max_minutes": 0.0}, "max_minutes must be above 0, or null, got 0.0"),
        ({"closing_share": 1.0}, "closing_share must be at least 0 and below 1, got 1.0"),
        ({"closing_factor": 0.0}, "closing_factor must be above 0 and finite, got 0.0"),
        ({"patience": 0}, "patience must be at least 1, or null, got 0"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        TrainingConfig(**options)


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    factors = [learning_rate_factor(step, step / 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9]
    assert all(later < earlier for earlier, later in itertools.pairwise(factors[9:]))
    assert factors[50] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0, abs=1e-12)
    assert learning_rate_factor(0, 0.0, 0) == 1.0


def test_the_learning_rate_starts_once_more_for_the_closing() -> None:
    factors = [learning_rate_factor(step, step / 100, 10, closing_share=0.2, closing_factor=0.3) for step in range(101)]
    assert factors[40] == pytest.approx(0.5)
    assert factors[79] < 0.001
    assert factors[80] == pytest.approx(0.3)
    assert factors[90] == pytest.approx(0.15)
    assert factors[100] == pytest.approx(0.0, abs=1e-12)
    assert all(later < earlier for earlier, later in itertools.pairwise(factors[80:]))


def test_the_closing_is_the_last_share(training: Callable[..., TrainingConfig]) -> None:
    task = Task(nn.Linear(2, 1), training(max_steps=10, closing_share=0.2))
    assert [task.is_closing(step) for step in range(10)] == [False] * 8 + [True] * 2
    assert not any(Task(nn.Linear(2, 1), training(max_steps=10)).is_closing(step) for step in range(11))


def test_the_learning_rate_falls_with_time_where_that_runs_out_first(training: Callable[..., TrainingConfig]) -> None:
    task = Task(nn.Linear(2, 1), training(max_steps=100))
    assert task.fraction_done(25) == 0.25
    task.time_fraction = lambda: 0.6
    assert task.fraction_done(25) == 0.6
    assert task.fraction_done(80) == 0.8
    task.time_fraction = lambda: 1.5
    assert task.fraction_done(25) == 1.0


def test_the_average_follows_by_its_decay_and_forgets_the_beginning(training: Callable[..., TrainingConfig]) -> None:
    model = nn.Linear(2, 1)
    task = Task(model, training(average_decay=0.9))
    expected = model.weight.detach().clone()
    for step in range(40):
        with torch.no_grad():
            model.weight.add_(1.0)
        task.on_train_batch_end()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = model.weight.detach() if step == 0 else decay * expected + (1 - decay) * model.weight.detach()
    averaged = task.best_guess
    assert isinstance(averaged, nn.Linear)
    torch.testing.assert_close(averaged.weight, expected)
    assert not torch.equal(averaged.weight, model.weight)


def test_without_a_decay_the_weights_themselves_are_kept(training: Callable[..., TrainingConfig]) -> None:
    task = Task(nn.Linear(2, 1), training(average_decay=0.0))
    assert task.best_guess is task.model


def test_only_matrices_decay(training: Callable[..., TrainingConfig]) -> None:
    optimizer = Task(nn.Linear(2, 1), training(weight_decay=0.5)).configure_optimizers()["optimizer"]
    decays = {
        parameter.ndim: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]
    }
    assert decays == {2: 0.5, 1: 0.0}
