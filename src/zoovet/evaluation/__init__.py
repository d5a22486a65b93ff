"""Measuring what was trained on networks that it has not seen, and reporting what was measured."""

from __future__ import annotations

from zoovet.evaluation.classification import NetworkClassifier, evaluate_classification
from zoovet.evaluation.detection import NetworkScorer, evaluate_detection
from zoovet.evaluation.edit_examples import EditExample, collect_edit_examples, collect_reconstructions
from zoovet.evaluation.editing import NetworkEditor, evaluate_editing
from zoovet.evaluation.examples import NetworkExamples, collect_examples
from zoovet.evaluation.figures import STATNN, headline_figures, write_figures
from zoovet.evaluation.generalization import AccuracyGuesser, evaluate_generalization
from zoovet.evaluation.measured import Measured
from zoovet.evaluation.metrics import (
    accuracy_at,
    auc,
    bootstrap_interval,
    bootstrap_intervals,
    kendall_tau,
    mean_absolute_error,
    r_squared,
    roc_curve,
    true_positive_rate_at,
)
from zoovet.evaluation.repair import NetworkRepairer, evaluate_repair
from zoovet.evaluation.report import Provenance, write_report
from zoovet.evaluation.results import (
    ClassificationResults,
    ComparedModel,
    DetectionResults,
    EditingResults,
    GeneralizationResults,
    RepairResults,
)
from zoovet.evaluation.zoo_summary import ZooSummary, summarize_zoo

__all__ = [
    "STATNN",
    "AccuracyGuesser",
    "ClassificationResults",
    "ComparedModel",
    "DetectionResults",
    "EditExample",
    "EditingResults",
    "GeneralizationResults",
    "Measured",
    "NetworkClassifier",
    "NetworkEditor",
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
    "collect_edit_examples",
    "collect_examples",
    "collect_reconstructions",
    "evaluate_classification",
    "evaluate_detection",
    "evaluate_editing",
    "evaluate_generalization",
    "evaluate_repair",
    "headline_figures",
    "kendall_tau",
    "mean_absolute_error",
    "r_squared",
    "roc_curve",
    "summarize_zoo",
    "true_positive_rate_at",
    "write_figures",
    "write_report",
]
