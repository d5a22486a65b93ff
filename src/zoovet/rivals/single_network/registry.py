"""Tests of a single network by name."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Literal

from zoovet.errors import ZoovetError, nearest
from zoovet.rivals.single_network.benign_features import BenignFeatures, BenignFeaturesConfig
from zoovet.rivals.single_network.free_eagle import FreeEagle
from zoovet.rivals.single_network.interface import SingleNetworkTest
from zoovet.rivals.single_network.maximum_margin import MaximumMargin, MaximumMarginConfig
from zoovet.rivals.single_network.neural_cleanse import NeuralCleanse, NeuralCleanseConfig
from zoovet.rivals.single_network.pixel import PixelChange, PixelChangeConfig
from zoovet.rivals.single_network.trojan_signature import TrojanSignature

__all__ = ["SINGLE_NETWORK_TESTS", "Effort", "single_network_test"]

Effort = Literal["paper", "reduced"]
"""The settings of a test's paper, or those that end in seconds on a processor; FreeEagle and trojan signatures have
the paper's only, which do."""

SINGLE_NETWORK_TESTS: MappingProxyType[str, Callable[[Effort], SingleNetworkTest]] = MappingProxyType(
    {
        "neural_cleanse": lambda effort: NeuralCleanse(
            config=NeuralCleanseConfig() if effort == "paper" else NeuralCleanseConfig.reduced()
        ),
        "mm_bd": lambda effort: MaximumMargin(
            config=MaximumMarginConfig() if effort == "paper" else MaximumMarginConfig.reduced()
        ),
        "pixel": lambda effort: PixelChange(
            config=PixelChangeConfig() if effort == "paper" else PixelChangeConfig.reduced()
        ),
        "bti_dbf": lambda effort: BenignFeatures(
            config=BenignFeaturesConfig() if effort == "paper" else BenignFeaturesConfig.reduced()
        ),
        "free_eagle": lambda _: FreeEagle(),
        "trojan_signature": lambda _: TrojanSignature(),
    }
)
"""Name → what makes the test."""


def single_network_test(name: str, effort: Effort = "reduced") -> SingleNetworkTest:
    """A test by its name.

    Raises:
        ZoovetError: There is none of that name.
    """
    if name not in SINGLE_NETWORK_TESTS:
        raise ZoovetError(f"the test {name!r} is unknown{nearest(name, SINGLE_NETWORK_TESTS)}")
    return SINGLE_NETWORK_TESTS[name](effort)
