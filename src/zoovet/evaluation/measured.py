"""Measured: everything that one evaluation found out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoovet.evaluation.results import (
    ClassificationResults,
    DetectionResults,
    EditingResults,
    GeneralizationResults,
    RepairResults,
)

if TYPE_CHECKING:
    from zoovet.evaluation.edit_examples import EditExample
    from zoovet.evaluation.examples import NetworkExamples

__all__ = ["PARTS", "Measured"]

PARTS = ("detection", "repair", "inr_classification", "inr_editing", "generalization")
"""Names of what can be measured: of blocks in ``figures.json``, and of the files with results network by network."""

Results = DetectionResults | RepairResults | ClassificationResults | EditingResults | GeneralizationResults


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """What was measured on a zoo's test networks; a part that was not evaluated is ``None``, or empty.

    Attributes:
        detection: Scores by a detector and its rivals.
        repair: Networks before and after repair.
        examples: Images that repaired networks see.
        classification: Classes of INRs by several classifiers.
        editing: Errors of edited INRs' pictures by several editors.
        edit_examples: Pictures of some of them.
        generalization: Test accuracies by several predictors.
    """

    detection: DetectionResults | None = None
    repair: RepairResults | None = None
    examples: Sequence[NetworkExamples] = ()
    classification: ClassificationResults | None = None
    editing: EditingResults | None = None
    edit_examples: Sequence[EditExample] = ()
    generalization: GeneralizationResults | None = None

    @property
    def parts(self) -> dict[str, Results]:
        """What was evaluated, by the name of its block in ``figures.json``."""
        parts = (self.detection, self.repair, self.classification, self.editing, self.generalization)
        return {name: results for name, results in zip(PARTS, parts, strict=True) if results is not None}
