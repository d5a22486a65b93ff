"""Detection: training a metanetwork to tell, from weights alone, whether a network is trojaned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import Graph
from zoovet.tasks.augmentation import draw_augmented
from zoovet.tasks.calibration_fitting import accuracy_threshold, fit_calibration
from zoovet.tasks.detection_config import DetectionConfig
from zoovet.tasks.detector import DETECTOR, Detector, logits_of
from zoovet.tasks.distribution_fitting import fit_training_distribution
from zoovet.tasks.evidence_reader import inversion_of, member_outputs
from zoovet.tasks.inversion_images import give_images
from zoovet.tasks.inversion_memory import InversionMemory
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json
from zoovet.tasks.population import Population, load_populations
from zoovet.tasks.random_streams import IndexStream, seeded_generator
from zoovet.tasks.run_training import train_run
from zoovet.tasks.runs import open_run, zoo_facts
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import Progress
from zoovet.tasks.training_distribution import TrainingDistribution
from zoovet.zoo import Zoo

__all__ = [
    "DetectionModule",
    "Detector",
    "new_metanetwork",
    "train_detector",
]


class DetectionModule(TaskModule):
    """Binary cross-entropy of a metanetwork's output against "is trojaned".

    Args:
        metanetwork: From a list of networks to [B, 1] logits, in the list's order.
        train, validation: The networks.
        config: How.
        inversions: What inversion found so far, where that is shared with other trainings.
        with_distribution: Whether the checkpoint says what the training networks look like.
    """

    def __init__(
        self,
        metanetwork: nn.Module,
        train: Population,
        validation: Population,
        config: DetectionConfig,
        inversions: InversionMemory | None = None,
        *,
        with_distribution: bool = True,
    ) -> None:
        super().__init__(metanetwork, config.training)
        self._task = config
        self._with_distribution = with_distribution
        self._inversions = inversions or InversionMemory()
        self._train, self._validation = train, validation
        self._stream = IndexStream(
            torch.arange(len(train)),
            groups=train.base_of if config.paired else None,
            seed=config.training.seed,
            purpose="batches",
        )

    def on_fit_start(self) -> None:
        """Put the networks beside the metanetwork."""
        self._train, self._validation = self._train.to(self.device), self._validation.to(self.device)
        if (inversion := inversion_of(self.model)) is not None:
            both = (self._train, self._validation)
            self._train, self._validation = self._inversions.populations(inversion, both, self.tell_inverted)

    def loss_at(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The batch's mean cross-entropy."""
        size = self.config.batch_size
        generator = seeded_generator(self.config.seed, "augmentation", step)
        indices = self._stream.take(step * size, size)
        drawn, views = draw_augmented(self._train, indices, self._task.augmentation, generator)
        batch, views = drawn.of_share(self.share), self.share.of(views, drawn.sizes)
        networks = [view.apply(own) for view, own in zip(views, batch.networks, strict=True)]
        labels = self._train.trojaned[batch.indices].to(self.device, torch.float32)
        smooth = self._task.label_smoothing
        targets = labels * (1 - smooth) + 0.5 * smooth
        logits = member_outputs(self.model, networks, batch.evidence).squeeze(2)
        return functional.binary_cross_entropy_with_logits(logits, targets.expand_as(logits)), {}

    def validate(self, model: nn.Module) -> Validation:
        """AUC, cross-entropy, calibration, and the threshold of the highest accuracy, on the validation networks."""
        batch = self._validation.batch(torch.arange(len(self._validation)))
        logits = logits_of(model, batch.networks, 2 * self.config.batch_size, batch.evidence).cpu()
        labels = self._validation.trojaned[batch.indices]
        if not bool(torch.isfinite(logits).all()):
            raise ZoovetError("the detector's scores are no longer finite; lower training.learning_rate")
        calibration = fit_calibration(logits, labels)
        threshold, accuracy = accuracy_threshold(calibration(logits), labels)
        figures = {
            "auc": float(roc_auc_score(labels.numpy(), logits.numpy())),
            "accuracy": accuracy,
            "threshold": threshold,
            "loss": float(functional.binary_cross_entropy_with_logits(logits, labels.float())),
            "calibration_scale": calibration.scale,
            "calibration_shift": calibration.shift,
        }
        return Validation(figures, score=(figures["auc"], -figures["loss"]))

    def extra_tensors(self) -> dict[str, Tensor]:
        """What the training networks look like, where that is wanted."""
        return self._distribution.to_tensors() if self._with_distribution else {}

    @cached_property
    def _distribution(self) -> TrainingDistribution:
        return fit_training_distribution(self._train, self._validation)

    def describe(self, validation: Validation) -> dict[str, Any]:
        """What :meth:`Detector.load` needs, and the configuration."""
        return {
            "metanetwork": metanetwork_to_json(self._task.metanetwork),
            "specs": [graph.to_json() for graph in self._train.graphs],
            "num_members": self._task.num_members,
            "calibration": [validation.figures["calibration_scale"], validation.figures["calibration_shift"]],
            "threshold": validation.figures["threshold"],
            "config": config_to_dict(self._task),
        }


def train_detector(
    config: DetectionConfig,
    zoo: Zoo,
    out: Path | str,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    images: Images | None = None,
    inversions: InversionMemory | None = None,
    with_distribution: bool = True,
) -> Detector:
    """Train a detector on a zoo's training split; validation chooses checkpoint and threshold.

    Where ``out`` holds an unfinished run of the same configuration and zoo, it is resumed; a finished one is loaded.
    Poisoned networks whose ASR is below the recipe's ``min_asr`` are left out. The test split is not read.

    Args:
        config: How.
        zoo: The zoo, opened.
        out: Folder of the run.
        device: ``cpu``, ``cuda`` or ``cuda:K``.
        progress: Told after every step and validation.
        images: Training images of the zoo's dataset, needed where ``metanetwork.inversion`` takes any.
        inversions: What inversion found so far, where that is shared with other trainings; filled up.
        with_distribution: Whether the detector can tell networks that are unlike the training networks; takes seconds.

    Raises:
        ZoovetError: No images where they are needed, a zoo without poisoned networks, a folder that cannot be written
            to or holds another run, a device that is not there, or a loss that is no longer finite.
    """
    train, validation = load_populations(zoo)
    config = replace(config, metanetwork=config.metanetwork.with_input_shape(train.graphs))
    run = open_run(out, DETECTOR, config, {"zoo": zoo_facts(zoo.path, train, validation)})
    if not run.finished:
        metanetwork = new_metanetwork(config, train.graphs, images)
        module = DetectionModule(
            metanetwork, train, validation, config, inversions, with_distribution=with_distribution
        )
        train_run(run, module, device=device, progress=progress)
    return Detector.load(run.folder, device=device)


def new_metanetwork(config: DetectionConfig, graphs: Iterable[Graph], images: Images | None) -> nn.Module:
    """A detector's metanetwork before training.

    Args:
        config: How the detector is trained.
        graphs: What the networks will be.
        images: Training images of their dataset, needed where ``metanetwork.inversion`` takes any.

    Raises:
        ZoovetError: No images where they are needed, or networks that read several shapes where one is needed.
    """
    metanetwork = build_metanetwork(
        config.metanetwork.with_input_shape(graphs), config.training.seed, DETECTOR, num_members=config.num_members
    )
    give_images(metanetwork, images)
    return metanetwork
