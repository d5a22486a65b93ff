"""The figures of editing INRs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.evaluation.figures.compared import compared_figures
from zoovet.evaluation.figures.parts import means
from zoovet.evaluation.results import EditingResults

__all__ = ["editing_figures"]


def editing_figures(results: EditingResults, generator: np.random.Generator, num_resamples: int) -> dict[str, Any]:
    """Each editor's ``mse`` and ``mse_over_nothing`` (a share: 0.5 halves the error) under ``models``; ``nothing``."""

    def statistics(key: str, indices: NDArray[np.intp]) -> list[float]:
        error = float(results.mse[key][indices].mean())
        return [error, error / float(results.mse_of_nothing[indices].mean())]

    names = ("mse", "mse_over_nothing")
    models = compared_figures(results.models, names, statistics, results.base_ids, generator, num_resamples)
    everything = np.ones(len(results), dtype=bool)
    return {
        "dataset": results.dataset,
        "edit": results.edit,
        "models": models,
        "nothing": means({"mse": results.mse_of_nothing}, everything, results.base_ids, generator, num_resamples),
        "num_networks": len(results),
        "num_bases": len(np.unique(results.base_ids)),
    }
