"""Detectors, repairers and predictors that are not metanetworks: what a metanetwork is compared with."""

from __future__ import annotations

from zoovet.rivals.adversarial_pruning import AdversarialPruningRepairer
from zoovet.rivals.channel_lipschitzness import ChannelLipschitznessRepairer
from zoovet.rivals.clean_images import CleanImages
from zoovet.rivals.fine_pruning import FinePruningRepairer
from zoovet.rivals.fine_tuning import FineTuningRepairer
from zoovet.rivals.statnn_detector import StatNNDetector
from zoovet.rivals.statnn_regressor import StatNNRegressor, StatNNRegressorConfig

__all__ = [
    "AdversarialPruningRepairer",
    "ChannelLipschitznessRepairer",
    "CleanImages",
    "FinePruningRepairer",
    "FineTuningRepairer",
    "StatNNDetector",
    "StatNNRegressor",
    "StatNNRegressorConfig",
]
