"""Detectors and repairers that are not metanetworks: what a metanetwork is compared with."""

from __future__ import annotations

from zoovet.rivals.statnn_detector import StatNNDetector

__all__ = ["StatNNDetector"]
