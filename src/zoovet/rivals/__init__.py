"""Detectors, repairers and predictors that are not metanetworks: what a metanetwork is compared with."""

from __future__ import annotations

from zoovet.rivals.statnn_detector import StatNNDetector
from zoovet.rivals.statnn_regressor import StatNNRegressor, StatNNRegressorConfig

__all__ = ["StatNNDetector", "StatNNRegressor", "StatNNRegressorConfig"]
