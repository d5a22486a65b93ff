"""Detection: training a metanetwork to tell, from weights alone, whether a network is trojaned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.metanets import ScaleGMNConfig
from zoovet.networks import Graph
from zoovet.tasks.augmentation import AugmentationConfig, draw_augmented
from zoovet.tasks.calibration import Calibration
from zoovet.tasks.detector import DETECTOR, Detector, logits_of
from zoovet.tasks.distribution_fitting import fit_training_distribution
from zoovet.tasks.evidence_reader import inversion_of, member_outputs
from zoovet.tasks.inversion_images import give_images, inverts
from zoovet.tasks.inversion_memory import InversionMemory
from zoovet.tasks.metanetworks import MetanetworkConfig, build_metanetwork, metanetwork_to_json
from zoovet.tasks.population import Population, load_populations
from zoovet.tasks.random_streams import IndexStream, seeded_generator
from zoovet.tasks.runs import open_run, zoo_facts
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import Progress, TrainingConfig
from zoovet.tasks.training_distribution import TrainingDistribution
from zoovet.zoo import Zoo

__all__ = [
    "DetectionConfig",
    "DetectionModule",
    "Detector",
    "accuracy_threshold",
    "fit_calibration",
    "new_metanetwork",
    "train_detector",
]


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """How a detector is trained.

    Attributes:
        metanetwork: What reads the weights; one output a network.
        num_members: How many such metanetworks are trained on the same batches, from different initial weights; the
            detector's logit is their mean.
        training: How they are trained.
        paired: Whether a healthy and a trojaned network of one base come in the same batch.
        label_smoothing: Share by which the labels 0 and 1 move towards one half.
        augmentation: What is done to the networks it trains on.

    Raises:
        ZoovetError: A value out of its range, or a metanetwork that does not give one number a network.
    """

    metanetwork: MetanetworkConfig = field(default_factory=ScaleGMNConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    num_members: int = 1
    paired: bool = True
    label_smoothing: float = 0.0
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        if self.metanetwork.output != "graph" or self.metanetwork.num_outputs != 1:
            raise ZoovetError(
                f"detection needs a metanetwork with output 'graph' and num_outputs 1, got "
                f"{self.metanetwork.output!r} and {self.metanetwork.num_outputs}"
            )
        if self.num_members < 1:
            raise ZoovetError(f"num_members must be at least 1, got {self.num_members}")
        own = self.augmentation
        if inverts(self.metanetwork) and (own.sibling_mixing or own.kernel_symmetries or own.class_permutations):
            raise ZoovetError(
                "metanetwork.inversion is computed once for every network, so that training networks can only be "
                "augmented by search_dropout and weight_noise (small enough to change nothing of it); leave the rest "
                "of augmentation out, or set metanetwork.inversion to null"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ZoovetError(f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing}")


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
        run.train(module, device=device, progress=progress)
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


def accuracy_threshold(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """The threshold of the highest accuracy when ``score >= threshold`` means trojaned, and that accuracy.

    It lies midway between two neighbouring scores (or at the ends: the lowest score, or just above the highest); of
    several equally good ones the one in the widest gap is taken.

    Args:
        scores: float32 [n], finite, of validation networks.
        labels: bool [n].
    """
    distinct, place = torch.unique(scores, return_inverse=True)
    num_trojaned = torch.bincount(place[labels], minlength=len(distinct))
    num_healthy = torch.bincount(place[~labels], minlength=len(distinct))
    # cut k flags the distinct scores k, k + 1, …
    right = functional.pad(num_healthy.cumsum(0), (1, 0)) + functional.pad(
        num_trojaned.flip(0).cumsum(0).flip(0), (0, 1)
    )
    middles = (distinct[:-1] + distinct[1:]) / 2
    middles = torch.where(middles > distinct[:-1], middles, distinct[1:])  # neighbouring floats have no middle
    cuts = torch.cat([distinct[:1], middles, torch.nextafter(distinct[-1:], torch.tensor(torch.inf))])
    gaps = functional.pad(distinct.diff(), (1, 1))
    best = torch.nonzero(right == right.max()).flatten()
    chosen = best[torch.argmax(gaps[best])]
    return float(cuts[chosen]), float(right[chosen]) / len(scores)


def fit_calibration(logits: Tensor, labels: Tensor) -> Calibration:
    """The line of the highest likelihood on validation networks.

    Labels are moved towards one half by as much as their number says, so that a detector that makes no error on few
    networks does not claim certainty. Where the best line would turn the order around, none is drawn.

    Source: Platt 1999, *Probabilistic Outputs for Support Vector Machines*, section 2.2.

    Args:
        logits: float32 [n], finite.
        labels: bool [n], both kinds.
    """
    num_trojaned, num_healthy = int(labels.sum()), int((~labels).sum())
    high, low = (num_trojaned + 1) / (num_trojaned + 2), 1 / (num_healthy + 2)
    targets = torch.where(labels, high, low).double()
    twice = torch.cat([logits, logits]).double()[:, None].numpy()
    wanted = torch.cat([torch.ones(len(labels)), torch.zeros(len(labels))]).numpy()
    weights = torch.cat([targets, 1 - targets]).numpy()
    line = LogisticRegression(C=1e6).fit(twice, wanted, sample_weight=weights)
    scale, shift = float(line.coef_[0, 0]), float(line.intercept_[0])
    return Calibration(scale, shift) if scale > 0 else Calibration()
