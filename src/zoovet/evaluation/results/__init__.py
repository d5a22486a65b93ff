"""What an evaluation measured, network by network: the link between running it and reporting it.

Results are plain arrays with a Parquet form each, so that figures and pages can be made again without the zoo.
"""

from __future__ import annotations

from zoovet.evaluation.results.classification import ClassificationResults
from zoovet.evaluation.results.compared import ComparedModel
from zoovet.evaluation.results.detection import DetectionResults
from zoovet.evaluation.results.editing import EditingResults
from zoovet.evaluation.results.generalization import GeneralizationResults
from zoovet.evaluation.results.repair import RepairResults

__all__ = [
    "ClassificationResults",
    "ComparedModel",
    "DetectionResults",
    "EditingResults",
    "GeneralizationResults",
    "RepairResults",
]
