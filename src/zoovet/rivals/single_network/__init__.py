"""Tests of a single network from the literature: each is given one network and, where it needs them, a few images."""

from __future__ import annotations

from zoovet.rivals.single_network.benign_features import BenignFeatures, BenignFeaturesConfig
from zoovet.rivals.single_network.free_eagle import FreeEagle, FreeEagleConfig
from zoovet.rivals.single_network.interface import SingleNetworkResult, SingleNetworkTest
from zoovet.rivals.single_network.maximum_margin import MaximumMargin, MaximumMarginConfig
from zoovet.rivals.single_network.neural_cleanse import NeuralCleanse, NeuralCleanseConfig
from zoovet.rivals.single_network.pixel import PixelChange, PixelChangeConfig
from zoovet.rivals.single_network.registry import SINGLE_NETWORK_TESTS, Effort, single_network_test
from zoovet.rivals.single_network.trojan_signature import TrojanSignature

__all__ = [
    "SINGLE_NETWORK_TESTS",
    "BenignFeatures",
    "BenignFeaturesConfig",
    "Effort",
    "FreeEagle",
    "FreeEagleConfig",
    "MaximumMargin",
    "MaximumMarginConfig",
    "NeuralCleanse",
    "NeuralCleanseConfig",
    "PixelChange",
    "PixelChangeConfig",
    "SingleNetworkResult",
    "SingleNetworkTest",
    "TrojanSignature",
    "single_network_test",
]
