"""The figures of predicting test accuracies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.evaluation.breakdown import PredictionGroup, prediction_groups
from zoovet.evaluation.figures.compared import compared_figures
from zoovet.evaluation.metrics import kendall_tau, mean_absolute_error, r_squared
from zoovet.evaluation.results import GeneralizationResults

__all__ = ["generalization_figures"]


def generalization_figures(
    results: GeneralizationResults, generator: np.random.Generator, num_resamples: int
) -> dict[str, Any]:
    """Each predictor's ``tau``, ``r_squared`` and ``mean_absolute_error``: ``models``, and by activation: ``groups``.

    Raises:
        ZoovetError: All networks have the same accuracy, so that there is no order to predict.
    """

    def statistics(key: str, indices: NDArray[np.intp]) -> list[float]:
        predicted, measured = results.predictions[key][indices], results.accuracies[indices]
        return [
            kendall_tau(predicted, measured),
            r_squared(predicted, measured),
            mean_absolute_error(predicted, measured),
        ]

    names = ("tau", "r_squared", "mean_absolute_error")
    models = compared_figures(results.models, names, statistics, results.base_ids, generator, num_resamples)
    return {
        "dataset": results.dataset,
        "models": models,
        "groups": {group.name: _group_figures(group) for group in prediction_groups(results)},
        "num_networks": len(results),
        "num_bases": len(np.unique(results.base_ids)),
    }


def _group_figures(group: PredictionGroup) -> dict[str, Any]:
    return {
        "num_networks": group.num_networks,
        **{key: {name: round(value, 6) for name, value in figures.items()} for key, figures in group.figures.items()},
    }
