"""Measuring detectors and repairers on networks they have not seen, and reporting what was measured."""

from __future__ import annotations

from zoovet.evaluation.detection import NetworkScorer, evaluate_detection
from zoovet.evaluation.examples import NetworkExamples, collect_examples
from zoovet.evaluation.figures import STATNN, headline_figures, write_figures
from zoovet.evaluation.metrics import (
    accuracy_at,
    auc,
    bootstrap_interval,
    bootstrap_intervals,
    roc_curve,
    true_positive_rate_at,
)
from zoovet.evaluation.repair import NetworkRepairer, evaluate_repair
from zoovet.evaluation.report import Provenance, write_report
from zoovet.evaluation.results import DetectionResults, RepairResults
from zoovet.evaluation.zoo_summary import ZooSummary, summarize_zoo

__all__ = [
    "STATNN",
    "DetectionResults",
    "NetworkExamples",
    "NetworkRepairer",
    "NetworkScorer",
    "Provenance",
    "RepairResults",
    "ZooSummary",
    "accuracy_at",
    "auc",
    "bootstrap_interval",
    "bootstrap_intervals",
    "collect_examples",
    "evaluate_detection",
    "evaluate_repair",
    "headline_figures",
    "roc_curve",
    "summarize_zoo",
    "true_positive_rate_at",
    "write_figures",
    "write_report",
]
