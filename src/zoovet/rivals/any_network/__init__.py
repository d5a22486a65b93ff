"""Rivals of healing, for networks of any graph or module: weights and reference images in, other weights out."""

from __future__ import annotations

from zoovet.rivals.any_network.attention_distillation import AttentionDistillation
from zoovet.rivals.any_network.channel_lipschitzness import ChannelLipschitzness
from zoovet.rivals.any_network.fine_tuning import FineTuning
from zoovet.rivals.any_network.implicit_unlearning import ImplicitUnlearning
from zoovet.rivals.any_network.neuron_pruning import NeuronPruning
from zoovet.rivals.any_network.shared_adversarial import SharedAdversarialUnlearning
from zoovet.rivals.any_network.sharpness_aware import SharpnessAware
from zoovet.rivals.any_network.tuning import Healer, ReferenceBatches

__all__ = [
    "AttentionDistillation",
    "ChannelLipschitzness",
    "FineTuning",
    "Healer",
    "ImplicitUnlearning",
    "NeuronPruning",
    "ReferenceBatches",
    "SharedAdversarialUnlearning",
    "SharpnessAware",
]
