"""Detectors, repairers and predictors that ScaleGMN is compared with, other metanetworks among them."""

from __future__ import annotations

from zoovet.rivals.adversarial_pruning import AdversarialPruningRepairer
from zoovet.rivals.channel_lipschitzness import ChannelLipschitznessRepairer
from zoovet.rivals.clean_images import CleanImages
from zoovet.rivals.fine_pruning import FinePruningRepairer
from zoovet.rivals.fine_tuning import FineTuningRepairer
from zoovet.rivals.fitting import RivalDetector
from zoovet.rivals.flat_mlp_detector import FlatMLPDetector, FlatMLPDetectorConfig
from zoovet.rivals.neural_cleanse import NeuralCleanseDetector
from zoovet.rivals.nfn_detector import NFNConfig, NFNDetector
from zoovet.rivals.permutation_detector import PermutationConfig, PermutationDetector
from zoovet.rivals.query_detector import QueryConfig, QueryDetector
from zoovet.rivals.single_network import NeuralCleanseConfig
from zoovet.rivals.sorted_weights_detector import SortedWeightsDetector
from zoovet.rivals.statnn_detector import StatNNDetector
from zoovet.rivals.statnn_regressor import StatNNRegressor, StatNNRegressorConfig

__all__ = [
    "AdversarialPruningRepairer",
    "ChannelLipschitznessRepairer",
    "CleanImages",
    "FinePruningRepairer",
    "FineTuningRepairer",
    "FlatMLPDetector",
    "FlatMLPDetectorConfig",
    "NFNConfig",
    "NFNDetector",
    "NeuralCleanseConfig",
    "NeuralCleanseDetector",
    "PermutationConfig",
    "PermutationDetector",
    "QueryConfig",
    "QueryDetector",
    "RivalDetector",
    "SortedWeightsDetector",
    "StatNNDetector",
    "StatNNRegressor",
    "StatNNRegressorConfig",
]
