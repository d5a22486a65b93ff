"""The figures of classifying INRs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.evaluation.figures.compared import compared_figures
from zoovet.evaluation.results import ClassificationResults

__all__ = ["classification_figures"]


def classification_figures(
    results: ClassificationResults, generator: np.random.Generator, num_resamples: int
) -> dict[str, Any]:
    """Each classifier's ``accuracy`` and ``class_accuracies`` under ``models``, and what they rest on.

    A class without test networks has the accuracy null.
    """
    correct = {model.key: results.correct(model.key) for model in results.models}

    def statistics(key: str, indices: NDArray[np.intp]) -> list[float]:
        return [float(correct[key][indices].mean())]

    models = compared_figures(results.models, ("accuracy",), statistics, results.base_ids, generator, num_resamples)
    for key, figures in models.items():
        figures["class_accuracies"] = {
            name: _mean(correct[key][results.labels == label]) for label, name in enumerate(results.class_names)
        }
    return {
        "dataset": results.dataset,
        "models": models,
        "num_networks": len(results),
        "num_bases": len(np.unique(results.base_ids)),
        "num_classes": len(results.class_names),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    return round(float(values.mean()), 6) if len(values) else None
