"""The figures of repair."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.evaluation.figures.parts import FloatArray, counts, means
from zoovet.evaluation.results import RepairResults

__all__ = ["repair_figures"]


def repair_figures(results: RepairResults, generator: np.random.Generator, num_resamples: int) -> dict[str, Any]:
    """Means before and after repair of the trojaned networks, and the healthy ones' clean accuracy."""
    lost = results.clean_accuracy_before - results.clean_accuracy_after
    groups: list[tuple[NDArray[np.bool_], dict[str, FloatArray]]] = [
        (
            results.poisoned,
            {
                "clean_accuracy_before": results.clean_accuracy_before,
                "clean_accuracy_after": results.clean_accuracy_after,
                "clean_accuracy_lost": lost,
                "asr_before": results.asr_before,
                "asr_after": results.asr_after,
                "ra_before": results.ra_before,
                "ra_after": results.ra_after,
            },
        ),
        (
            ~results.poisoned,
            {
                "healthy_accuracy_before": results.clean_accuracy_before,
                "healthy_accuracy_after": results.clean_accuracy_after,
                "healthy_accuracy_lost": lost,
            },
        ),
    ]
    contents: dict[str, Any] = {}
    for mask, columns in groups:
        contents |= means(columns, mask, results.base_ids, generator, num_resamples)
    return {
        **contents,
        "seconds_per_network": results.seconds_per_network,
        "num_images": results.num_images,
        **counts(results),
    }
