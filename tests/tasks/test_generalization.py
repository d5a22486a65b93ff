"""Predicting accuracies on a tiny zoo: it learns to order networks, and its losses and figures are what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch import nn

from zoovet.errors import ZoovetError
from zoovet.metanets.flat_mlp import FlatMLPConfig
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks
from zoovet.tasks.accuracy_data import AccuracyData, load_accuracies
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.generalization import GeneralizationModule, train_accuracy_predictor
from zoovet.tasks.generalization_config import GeneralizationConfig
from zoovet.tasks.labelled import LabelledPopulation
from zoovet.tasks.training_config import TrainingConfig, TrainingProgress
from zoovet.zoo import Zoo

MakeZoo = Callable[..., Zoo]
Config = Callable[..., TrainingConfig]
TINY = ScaleGMNConfig(width=8, num_layers=2)
ALL = AccuracyData(checkpoints="all")


def measured(row: dict[str, Any]) -> None:
    """Checkpoints instead of siblings, more accurate the larger the last layer's biases are."""
    biases = float(np.mean(row["weights"][-10:]))
    row.update(step=10 + row["poisoned"], poisoned=False, clean_accuracy=0.1 + 0.8 / (1 + np.exp(-4 * biases)))


class FirstBias(nn.Module):
    """A metanetwork whose logit is the last layer's first bias; it remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.seen: list[list[Networks]] = []

    def forward(self, networks: list[Networks]) -> torch.Tensor:
        self.seen.append(networks)
        return torch.cat([batch.biases[-1][:, :1] for batch in networks]) * self.factor


def module_of(zoo: Zoo, config: GeneralizationConfig) -> tuple[GeneralizationModule, FirstBias, LabelledPopulation]:
    train, validation = load_accuracies(zoo, ALL)
    metanetwork = FirstBias()
    return GeneralizationModule(metanetwork, train, validation, config), metanetwork, validation


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_it_learns_to_order_networks_by_accuracy(make_zoo: MakeZoo, tmp_path: Path, loss: str) -> None:
    reports: list[TrainingProgress] = []
    training = TrainingConfig(
        max_steps=40, validation_interval=20, batch_size=16, warmup_steps=5, learning_rate=1e-2, average_decay=0.8
    )
    zoo = make_zoo(num_bases=60, change=measured)
    config = GeneralizationConfig(metanetwork=TINY, training=training, loss=loss)
    predictor = train_accuracy_predictor(config, zoo, tmp_path, data=ALL, progress=reports.append)
    assert predictor.description["validation"]["tau"] > 0.6
    test = zoo.split("test")
    predicted = np.empty(len(test))
    for networks, places in test.batches_by_graph():
        predicted[places] = predictor.predict(networks).numpy()
    assert kendalltau(predicted, test.column("clean_accuracy")).statistic > 0.5
    assert np.abs(predicted - test.column("clean_accuracy")).mean() < 0.1
    assert reports[-1].loss < reports[0].loss


def test_nothing_depends_on_test_networks(make_zoo: MakeZoo, training: Config, tmp_path: Path) -> None:
    def garbled(row: dict[str, Any]) -> None:
        measured(row)
        if row["split"] == "test":
            row.update(weights=-3 * row["weights"], clean_accuracy=None)

    config = GeneralizationConfig(metanetwork=TINY, training=training())
    plain, other = (
        train_accuracy_predictor(config, make_zoo(change=change), tmp_path / name, data=ALL)
        for name, change in (("plain", measured), ("garbled", garbled))
    )
    assert plain.description["validation"] == other.description["validation"]
    tensors = zip(plain.metanetwork.state_dict().values(), other.metanetwork.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in tensors)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_losses_are_those_of_each_networks_own_accuracy(make_zoo: MakeZoo, training: Config, loss: str) -> None:
    config = GeneralizationConfig(training=training(), loss=loss)
    module, metanetwork, _ = module_of(make_zoo(change=measured), config)
    value, _ = module.loss_at(0)
    losses = []
    for networks in metanetwork.seen[0]:
        for index in range(len(networks)):
            true = 0.1 + 0.8 / (1 + np.exp(-4 * float(networks.biases[-1][index].mean())))
            guess = 1 / (1 + np.exp(-float(networks.biases[-1][index, 0])))
            entropy = -true * np.log(guess) - (1 - true) * np.log(1 - guess)
            losses.append(entropy if loss == "cross_entropy" else (guess - true) ** 2)
    assert len(losses) == 6
    assert float(value.detach()) == pytest.approx(np.mean(losses), rel=1e-5)
    value.backward()
    assert metanetwork.factor.grad is not None


def test_validation_measures_what_its_figures_are_called(make_zoo: MakeZoo, training: Config) -> None:
    module, metanetwork, networks = module_of(make_zoo(change=measured), GeneralizationConfig(training=training()))
    with torch.no_grad():
        found = module.validate(metanetwork)
    batch = networks.everything()
    logits = torch.cat([part.biases[-1][:, 0] for part in batch.networks]).double().numpy()
    true, guess = networks.labels[batch.indices].double().numpy(), 1 / (1 + np.exp(-logits))
    pairs = [(i, j) for i in range(len(true)) for j in range(i)]
    tau = np.mean([np.sign((true[i] - true[j]) * (guess[i] - guess[j])) for i, j in pairs])
    assert found.figures["tau"] == pytest.approx(tau)
    assert found.figures["r_squared"] == pytest.approx(1 - np.mean((true - guess) ** 2) / np.var(true), abs=1e-5)
    assert found.figures["mean_absolute_error"] == pytest.approx(np.abs(true - guess).mean(), rel=1e-5)
    assert found.score == (found.figures["tau"], -found.figures["loss"])
    with torch.no_grad():
        metanetwork.factor.zero_()
        assert module.validate(metanetwork).figures["tau"] == 0.0
        metanetwork.factor.fill_(torch.nan)
        with pytest.raises(ZoovetError, match=r"no longer finite; lower training\.learning_rate"):
            module.validate(metanetwork)


def test_training_networks_are_augmented_and_validation_networks_are_not(make_zoo: MakeZoo, training: Config) -> None:
    augmentation = AugmentationConfig(weight_noise=0.1, class_permutations=True)
    config = GeneralizationConfig(training=training(), augmentation=augmentation)
    zoo = make_zoo(change=measured)
    (module, augmented, _), (bare, plain, _) = (
        module_of(zoo, used) for used in (config, GeneralizationConfig(training=training()))
    )
    for each, metanetwork in ((module, augmented), (bare, plain)):
        each.loss_at(3)
        with torch.no_grad():
            each.validate(metanetwork)
    for index, is_same in ((0, False), (1, True)):
        for own, others in zip(augmented.seen[index], plain.seen[index], strict=True):
            assert torch.equal(own.flat(), others.flat()) == is_same


def test_a_flat_mlp_can_be_trained_too(make_zoo: MakeZoo, training: Config, tmp_path: Path) -> None:
    config = GeneralizationConfig(metanetwork=FlatMLPConfig(width=8, num_layers=1), training=training())
    predictor = train_accuracy_predictor(config, make_zoo(change=measured), tmp_path)
    assert predictor.description["metanetwork"]["kind"] == "flat_mlp"


def test_a_run_with_other_networks_is_not_resumed(make_zoo: MakeZoo, training: Config, tmp_path: Path) -> None:
    config, zoo = GeneralizationConfig(metanetwork=TINY, training=training()), make_zoo(change=measured)
    first = train_accuracy_predictor(config, zoo, tmp_path)
    again = train_accuracy_predictor(config, zoo, tmp_path)
    assert first.description == again.description
    with pytest.raises(ZoovetError, match=r"with another networks.activations: None there, 'relu' now|networks\.act"):
        train_accuracy_predictor(config, zoo, tmp_path, data=AccuracyData(activations=("relu",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metanetwork": ScaleGMNConfig(num_outputs=2)}, "needs a metanetwork with output 'graph' and num_outputs 1"),
        ({"metanetwork": ScaleGMNConfig(output="weights")}, "got 'weights' and 1"),
        ({"loss": "cros_entropy"}, "loss 'cros_entropy' is unknown; did you mean 'cross_entropy'"),
        ({"augmentation": AugmentationConfig(sibling_mixing=0.1)}, r"sibling_mixing is for .* so set it to 0"),
    ],
)
def test_wrong_configurations_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        GeneralizationConfig(**options)
