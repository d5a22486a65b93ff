"""Measuring detectors and repairers on networks they have not seen, and reporting what was measured."""

from __future__ import annotations

from zoovet.evaluation.detection import NetworkScorer, evaluate_detection
from zoovet.evaluation.examples import NetworkExamples, collect_examples
from zoovet.evaluation.figures import STATNN, headline_figures, write_figures
from zoovet.evaluation.measuring import load_test_images
from zoovet.evaluation.metrics import (
    accuracy_at,
    auc,
    best_threshold,
    bootstrap_interval,
    bootstrap_intervals,
    roc_curve,
    true_positive_rate_at,
)
from zoovet.evaluation.output import write_evaluation
from zoovet.evaluation.repair import NetworkRepairer, evaluate_repair
from zoovet.evaluation.report import Provenance, write_report
from zoovet.evaluation.results import DetectionResults, RepairResults
from zoovet.evaluation.statnn import StatNNDetector, fit_statnn
from zoovet.evaluation.zoo_summary import ZooSummary, summarize_zoo

__all__ = [
    "STATNN",
    "DetectionResults",
    "NetworkExamples",
    "NetworkRepairer",
    "NetworkScorer",
    "Provenance",
    "RepairResults",
    "StatNNDetector",
    "ZooSummary",
    "accuracy_at",
    "auc",
    "best_threshold",
    "bootstrap_interval",
    "bootstrap_intervals",
    "collect_examples",
    "evaluate_detection",
    "evaluate_repair",
    "fit_statnn",
    "headline_figures",
    "load_test_images",
    "roc_curve",
    "summarize_zoo",
    "true_positive_rate_at",
    "write_evaluation",
    "write_figures",
    "write_report",
]
