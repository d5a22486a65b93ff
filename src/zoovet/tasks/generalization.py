"""Generalization prediction: training a metanetwork to say, from weights alone, how accurate a network will be.

Source: Unterthiner et al. 2020, *Predicting Neural Network Accuracy from Weights*; the protocol of the splits and
Kendall's τ as the figure to compare by, Zhou et al. 2023, *Permutation Equivariant Neural Functionals*.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from sklearn.metrics import r2_score
from torch import Tensor, nn
from torch.nn import functional

from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.networks import Networks
from zoovet.tasks.accuracy_data import AccuracyData, load_accuracies
from zoovet.tasks.accuracy_predictor import ACCURACY_PREDICTOR, AccuracyPredictor
from zoovet.tasks.augmentation import View, perturb
from zoovet.tasks.detector import logits_of
from zoovet.tasks.generalization_config import GeneralizationConfig
from zoovet.tasks.labelled import LabelledPopulation
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json
from zoovet.tasks.random_streams import IndexStream, seeded_generator
from zoovet.tasks.run_training import train_run
from zoovet.tasks.runs import open_run, zoo_facts
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import Progress
from zoovet.zoo import Zoo

__all__ = ["AccuracyPredictor", "GeneralizationModule", "train_accuracy_predictor"]


class GeneralizationModule(TaskModule):
    """Loss of a metanetwork's output, the logit of an accuracy, against the accuracy measured on test images.

    Args:
        metanetwork: From a list of networks to [B, 1] logits, in the list's order.
        train, validation: The networks; their labels are accuracies in [0, 1].
        config: How.
    """

    def __init__(
        self,
        metanetwork: nn.Module,
        train: LabelledPopulation,
        validation: LabelledPopulation,
        config: GeneralizationConfig,
    ) -> None:
        super().__init__(metanetwork, config.training)
        self._task = config
        self._train, self._validation = train, validation
        self._stream = IndexStream(torch.arange(len(train)), groups=None, seed=config.training.seed, purpose="batches")

    def on_fit_start(self) -> None:
        """Put the networks beside the metanetwork."""
        self._train, self._validation = self._train.to(self.device), self._validation.to(self.device)

    def loss_at(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The batch's mean loss."""
        size = self.config.batch_size
        batch = self._train.batch(self._stream.take(step * size, size))
        generator = seeded_generator(self.config.seed, "augmentation", step)
        augmented = [self._augmented(part, generator) for part in batch.networks]
        networks, indices = self.share.of(augmented, batch.sizes), batch.indices[self.share.places]
        return self._loss(self.model(networks).squeeze(1), self._train.labels[indices].to(self.device)), {}

    def validate(self, model: nn.Module) -> Validation:
        """Kendall's τ, R², mean absolute error and loss on the validation networks; τ chooses the checkpoint."""
        batch = self._validation.everything()
        logits = logits_of(model, batch.networks, 2 * self.config.batch_size).cpu()
        if not bool(torch.isfinite(logits).all()):
            raise ZoovetError("the predicted accuracies are no longer finite; lower training.learning_rate")
        accuracies = self._validation.labels[batch.indices]
        predicted, true = torch.sigmoid(logits).double().numpy(), accuracies.double().numpy()
        figures = {
            "tau": float(kendalltau(logits.numpy(), true).statistic) if np.ptp(logits.numpy()) > 0 else 0.0,
            "r_squared": float(r2_score(true, predicted)),
            "mean_absolute_error": float(np.abs(predicted - true).mean()),
            "loss": float(self._loss(logits, accuracies)),
        }
        return Validation(figures, score=(figures["tau"], -figures["loss"]))

    def describe(self, validation: Validation) -> dict[str, Any]:
        """What :meth:`AccuracyPredictor.load` needs, and the configuration."""
        return {
            "metanetwork": metanetwork_to_json(self._task.metanetwork),
            "specs": [graph.to_json() for graph in self._train.graphs],
            "config": config_to_dict(self._task),
        }

    def _augmented(self, networks: Networks, generator: torch.Generator) -> Networks:
        config = self._task.augmentation
        perturbed = perturb(networks, networks, config, generator)
        return View.draw(perturbed, config, generator).apply(perturbed)

    def _loss(self, logits: Tensor, accuracies: Tensor) -> Tensor:
        """Mean loss of logits [B] against accuracies float32 [B]."""
        if self._task.loss == "cross_entropy":
            return functional.binary_cross_entropy_with_logits(logits, accuracies)
        return functional.mse_loss(torch.sigmoid(logits), accuracies)


def train_accuracy_predictor(
    config: GeneralizationConfig,
    zoo: Zoo,
    out: Path | str,
    *,
    data: AccuracyData | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> AccuracyPredictor:
    """Train an accuracy predictor on a zoo's training split; validation chooses the checkpoint, by Kendall's τ.

    Where ``out`` holds an unfinished run of the same configuration and zoo, it is resumed; a finished one is loaded.
    The test split is not read.

    Args:
        config: How.
        zoo: The zoo, opened.
        out: Folder of the run.
        data: Which of the zoo's networks count; the defaults where left out.
        device: ``cpu``, ``cuda`` or ``cuda:K``.
        progress: Told after every step and validation.

    Raises:
        ZoovetError: A zoo without test accuracies or without the networks asked for, a split with fewer than two
            networks, a folder that cannot be written to or holds another run, a device that is not there, or a loss
            that is no longer finite.
    """
    data = data or AccuracyData()
    train, validation = load_accuracies(zoo, data)
    config = replace(config, metanetwork=config.metanetwork.with_input_shape(train.graphs))
    facts = {"zoo": zoo_facts(zoo.path, train, validation), "networks": config_to_dict(data)}
    run = open_run(out, ACCURACY_PREDICTOR, config, facts)
    if not run.finished:
        metanetwork = build_metanetwork(config.metanetwork, config.training.seed, ACCURACY_PREDICTOR)
        module = GeneralizationModule(metanetwork, train, validation, config)
        train_run(run, module, device=device, progress=progress)
    return AccuracyPredictor.load(run.folder, device=device)
