"""RepairConfig: what an editor is made of, which losses it is trained with, and how its checkpoint is chosen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from zoovet.errors import ZoovetError
from zoovet.metanets import ScaleGMNConfig
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.inversion_images import inverts
from zoovet.tasks.last_layer_refit import RefitConfig
from zoovet.tasks.metanetworks import MetanetworkConfig
from zoovet.tasks.training_config import TrainingConfig

__all__ = ["ClosingLosses", "RepairConfig"]

_WEIGHTS = ("error_weight", "triggered_weight", "attack_weight", "keep_weight", "gate_weight", "accuracy_weight")


def _editing() -> ScaleGMNConfig:
    return ScaleGMNConfig(output="weights")


@dataclass(frozen=True, kw_only=True)
class ClosingLosses:
    """Weights of the losses in the closing share of a repairer's training; null leaves one as it was before.

    Attributes:
        sibling_share, error_weight, triggered_weight, triggered_sibling_share, attack_weight, keep_weight: As those of
            :class:`RepairConfig`.
    """

    sibling_share: float | None = None
    error_weight: float | None = None
    triggered_weight: float | None = None
    triggered_sibling_share: float | None = None
    attack_weight: float | None = None
    keep_weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class RepairConfig:
    """How a repairer is trained.

    Attributes:
        metanetwork: What changes the weights; output ``weights``.
        gate: What says how much of the change a network gets, between none and all; output ``graph``. null applies
            every change in full.
        refit: How the last layer is fitted anew after the change; null leaves it as it is.
        training: How both are trained.
        augmentation: What is done to the networks it trains on; edits of turned and shuffled networks are turned and
            shuffled back before they are judged.
        loss: ``function``: the edited network, run on training images, should give the true labels; ``weights``: the
            squared distance of edited weights from the healthy sibling's, relative to each layer's own square.
        trojaned_share: Share of trojaned networks in a batch; the others are healthy.
        num_clean_images, num_triggered_images: Images a network and step of each kind (``function``).
        sibling_share: Share of the loss on clean images that asks for the healthy sibling's answers instead of the true
            labels (``function``).
        error_weight: Weight of the smooth error rate on clean images, beside the cross-entropy (``function``).
        triggered_weight: Weight of the loss on triggered images, that on clean ones being 1 (``function``).
        triggered_sibling_share: Share of the loss on triggered images that asks for the healthy sibling's answers
            instead of the true labels (``function``).
        attack_weight: Weight of −log(1 − p) on trojaned networks' triggered images, p being the probability of the
            label that the trigger should cause: it asks no more than that the attack fails (``function``).
        keep_weight: Weight of the Kullback-Leibler divergence of healthy networks' answers on clean images before and
            after the edit (``function``).
        closing: Other weights of the losses in the training's last part, ``training.closing_share``; null has none
            (``function``).
        gate_weight: Weight of the gate's cross-entropy against "is trojaned"; without a gate it has no effect.
        num_validation_images: Training images held out to validate on, drawn at random.
        accuracy_weight: What a point of clean accuracy lost counts against a point of ASR when the best
            checkpoint is chosen.
        target_asr: ASR that is low enough: less of it counts for nothing when the best checkpoint is chosen.
        strengths: Factors of the changes, of which each validation chooses the best by the same measure.

    Raises:
        ZoovetError: A value out of its range, or a metanetwork of the wrong output.
    """

    metanetwork: MetanetworkConfig = field(default_factory=_editing)
    gate: MetanetworkConfig | None = None
    refit: RefitConfig | None = None
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(batch_size=16))
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    loss: Literal["function", "weights"] = "function"
    trojaned_share: float = 0.7
    num_clean_images: int = 24
    num_triggered_images: int = 24
    sibling_share: float = 0.0
    error_weight: float = 0.0
    triggered_weight: float = 1.0
    triggered_sibling_share: float = 0.0
    attack_weight: float = 0.0
    keep_weight: float = 1.0
    closing: ClosingLosses | None = None
    gate_weight: float = 0.1
    num_validation_images: int = 256
    accuracy_weight: float = 2.0
    target_asr: float = 0.0
    strengths: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.metanetwork.output != "weights":
            raise ZoovetError(f"repair needs a metanetwork with output 'weights', got {self.metanetwork.output!r}")
        own = self.augmentation
        if inverts(self.metanetwork) and (own.sibling_mixing or own.class_permutations):
            raise ZoovetError(
                "metanetwork.inversion is computed once for every network, so that training networks can only be "
                "augmented by kernel_symmetries, search_dropout and weight_noise (small enough to change nothing of "
                "it); leave the rest of augmentation out, or set inversion to null"
            )
        if self.gate is not None and (self.gate.output != "graph" or self.gate.num_outputs != 1):
            raise ZoovetError(
                f"the gate needs output 'graph' and num_outputs 1, got {self.gate.output!r} and {self.gate.num_outputs}"
            )
        if self.loss not in ("function", "weights"):
            raise ZoovetError(f"loss must be 'function' or 'weights', got {self.loss!r}")
        self._check_numbers()
        if self.closing is not None:
            if self.training.closing_share == 0:
                raise ZoovetError(
                    "closing needs a share of the training; set training.closing_share, or closing to null"
                )
            try:
                self.while_closing()
            except ZoovetError as error:
                raise ZoovetError(f"closing.{error}") from error

    def score(self, *, asr: float, lost: float, healthy_lost: float) -> float:
        """How bad a repair is: its ASR, and the clean accuracy that trojaned and healthy networks lost.

        A gain of accuracy counts for nothing, nor does an ASR below ``target_asr``.
        """
        return max(asr, self.target_asr) + self.accuracy_weight * (max(0.0, lost) + max(0.0, healthy_lost))

    def while_closing(self) -> RepairConfig:
        """The same with the weights of the closing share."""
        given = {} if self.closing is None else {k: v for k, v in asdict(self.closing).items() if v is not None}
        return replace(self, closing=None, **given)

    def _check_numbers(self) -> None:
        if not 0 < self.trojaned_share < 1:
            raise ZoovetError(f"trojaned_share must lie between 0 and 1, got {self.trojaned_share}")
        for name in ("num_clean_images", "num_triggered_images", "num_validation_images"):
            if getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in _WEIGHTS:
            if not getattr(self, name) >= 0:
                raise ZoovetError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("sibling_share", "triggered_sibling_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ZoovetError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.target_asr < 1:
            raise ZoovetError(f"target_asr must be at least 0 and below 1, got {self.target_asr}")
        if not self.strengths or not min(self.strengths) > 0:
            raise ZoovetError(f"strengths must list at least one number above 0, got {list(self.strengths)}")
