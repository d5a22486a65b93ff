"""The section on classifying INRs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoovet.evaluation.report.plots.classification import class_accuracies, confusion_matrix
from zoovet.evaluation.results import ClassificationResults

__all__ = ["classification_section"]


def classification_section(results: ClassificationResults, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The table of models, accuracies by class, and what is taken for what by the first model."""
    rows = figures["models"]
    best = max(rows, key=lambda key: rows[key]["accuracy"])
    return {
        "figures": figures,
        "rows": rows,
        "first": next(iter(rows.values())),
        "rivals": list(rows.values())[1:],
        "best": best,
        "confusions": [
            (model.name, confusion_matrix(f"confusion-{place}", results.confusion(model.key), results.class_names))
            for place, model in enumerate(results.models)
        ],
        "classes": class_accuracies(
            "class-accuracies",
            results.class_names,
            {row["name"]: list(row["class_accuracies"].values()) for row in rows.values()},
        ),
    }
