"""Classification of INRs: training a metanetwork to tell, from a SIREN's weights, what its picture shows.

Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*, section 6.1.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.metanets import LayerUnits
from zoovet.symmetry import canonicalize
from zoovet.tasks.classifier import CLASSIFIER, Classifier, class_logits
from zoovet.tasks.inr_classification_config import ClassificationConfig
from zoovet.tasks.labelled import LabelledPopulation, load_labelled
from zoovet.tasks.metanetworks import build_in_units, metanetwork_to_json
from zoovet.tasks.picture_moves import move_pictures
from zoovet.tasks.random_streams import IndexStream, seeded_generator
from zoovet.tasks.run_training import train_run
from zoovet.tasks.runs import open_run, zoo_facts
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import Progress
from zoovet.zoo import Zoo

__all__ = ["ClassificationModule", "Classifier", "train_classifier"]


class ClassificationModule(TaskModule):
    """Cross-entropy of a metanetwork's outputs against the networks' labels.

    Args:
        metanetwork: From a list of networks to [B, C] logits, in the list's order.
        train, validation: The networks, their phases canonicalized where that is wanted.
        config: How.
        canonicalized: Whether phases are canonicalized; those of a network that augmentation has moved, once more.
    """

    def __init__(
        self,
        metanetwork: nn.Module,
        train: LabelledPopulation,
        validation: LabelledPopulation,
        config: ClassificationConfig,
        *,
        canonicalized: bool = False,
    ) -> None:
        super().__init__(metanetwork, config.training)
        self._task = config
        self._train, self._validation = train, validation
        self._canonicalized = canonicalized
        self._stream = IndexStream(torch.arange(len(train)), groups=None, seed=config.training.seed, purpose="batches")

    def on_fit_start(self) -> None:
        """Put the networks beside the metanetwork."""
        self._train, self._validation = self._train.to(self.device), self._validation.to(self.device)

    def loss_at(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The batch's mean cross-entropy in nats, and its accuracy."""
        size = self.config.batch_size
        batch = self._train.batch(self._stream.take(step * size, size))
        generator = seeded_generator(self.config.seed, "augmentation", step)
        augmentation = self._task.augmentation
        moved = [move_pictures(own, augmentation, generator) for own in batch.networks]
        networks, indices = self.share.of(moved, batch.sizes), batch.indices[self.share.places]
        if self._canonicalized and augmentation.moves_pictures:
            networks = [canonicalize(own) for own in networks]
        labels = self._train.labels[indices].to(self.device)
        logits = self.model(networks)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self._task.label_smoothing)
        return loss, {"accuracy": float((logits.detach().argmax(dim=1) == labels).float().mean())}

    def validate(self, model: nn.Module) -> Validation:
        """Accuracy and cross-entropy (in nats) on the validation networks."""
        batch = self._validation.everything()
        logits = class_logits(model, batch.networks, 2 * self.config.batch_size).cpu()
        labels = self._validation.labels[batch.indices]
        if not bool(torch.isfinite(logits).all()):
            raise ZoovetError("the classifier's logits are no longer finite; lower training.learning_rate")
        figures = {
            "accuracy": float((logits.argmax(dim=1) == labels).double().mean()),
            "loss": float(functional.cross_entropy(logits, labels)),
        }
        return Validation(figures, score=(figures["accuracy"], -figures["loss"]))

    def describe(self, validation: Validation) -> dict[str, Any]:
        """What :meth:`Classifier.load` needs, and the configuration."""
        return {
            "metanetwork": metanetwork_to_json(self._task.metanetwork),
            "layer_units": self._task.layer_units,
            "specs": [graph.to_json() for graph in self._train.graphs],
            "config": config_to_dict(self._task),
        }


def train_classifier(
    config: ClassificationConfig,
    zoo: Zoo,
    out: Path | str,
    *,
    canonicalized: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Classifier:
    """Train a classifier on a zoo's training split, by the column ``label``; validation chooses the checkpoint.

    Where ``out`` holds an unfinished run of the same configuration and zoo, it is resumed; a finished one is loaded.
    The test split is not read.

    Args:
        config: How.
        zoo: The zoo, opened.
        out: Folder of the run.
        canonicalized: Whether the networks' phases are canonicalized before the metanetwork reads them.
        device: ``cpu``, ``cuda`` or ``cuda:K``.
        progress: Told after every step and validation.

    Raises:
        ZoovetError: Networks without a label, labels of one class only or beyond the metanetwork's outputs, a folder
            that cannot be written to or holds another run, a device that is not there, or a loss that is no longer
            finite.
    """
    train, validation = load_labelled(zoo, "label")
    _require_classes(train, validation, config.metanetwork.num_outputs, zoo)
    config = replace(config, metanetwork=config.metanetwork.with_input_shape(train.graphs))
    facts = {"zoo": zoo_facts(zoo.path, train, validation), "canonicalized": canonicalized}
    if canonicalized:
        train, validation = train.mapped(canonicalize), validation.mapped(canonicalize)
    run = open_run(out, CLASSIFIER, config, facts)
    if not run.finished:
        seed = config.training.seed
        metanetwork = build_in_units(config.metanetwork, train.graphs, config.layer_units, seed, CLASSIFIER)
        if isinstance(metanetwork, LayerUnits):
            metanetwork.measure(train.everything().networks)
        module = ClassificationModule(metanetwork, train, validation, config, canonicalized=canonicalized)
        train_run(run, module, device=device, progress=progress)
    return Classifier.load(run.folder, device=device)


def _require_classes(train: LabelledPopulation, validation: LabelledPopulation, num_classes: int, zoo: Zoo) -> None:
    """Check that there is something to tell apart, and an output for every label."""
    if len(torch.unique(train.labels)) < 2:
        raise ZoovetError(
            f"all training networks of the zoo {zoo.path} have the label {int(train.labels[0])}; there is nothing to "
            "tell apart; build or import a zoo of several classes"
        )
    for split in (train, validation):
        if int(split.labels.max()) >= num_classes:
            place = int(split.labels.argmax())
            raise ZoovetError(
                f"network {split.network_ids[place]!r} of the zoo {zoo.path} has the label {int(split.labels[place])}, "
                f"but the metanetwork tells {num_classes} classes apart (0 to {num_classes - 1}); set "
                f"metanetwork.num_outputs to {int(split.labels[place]) + 1} or more"
            )
