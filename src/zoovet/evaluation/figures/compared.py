"""The figures of models that are compared on the same networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.evaluation.figures.parts import entry
from zoovet.evaluation.metrics import bootstrap_intervals
from zoovet.evaluation.results import ComparedModel

__all__ = ["compared_figures"]

Statistics = Callable[[str, NDArray[np.intp]], Sequence[float]]


def compared_figures(
    models: Sequence[ComparedModel],
    names: Sequence[str],
    statistics: Statistics,
    base_ids: NDArray[np.int64],
    generator: np.random.Generator,
    num_resamples: int,
) -> dict[str, dict[str, Any]]:
    """Figures of every model with intervals over bases, all on the same resamples.

    Args:
        models: The models.
        names: What the statistics are, the headline figure first.
        statistics: From a model's key and the indices of some networks to one number a name.
        base_ids: [n] the base of each network; bases are drawn as wholes.
        generator: Where the draws come from.
        num_resamples: Resamples an interval.

    Returns:
        By a model's key: ``name``, each figure and its ``…_interval``; ``num_parameters``, ``training_seconds`` and
        ``run``; and for all models but the first ``HEADLINE_of_first_minus_this`` with its interval.
    """
    num_names = len(names)

    def measure(indices: NDArray[np.intp]) -> list[float]:
        values = [value for model in models for value in statistics(model.key, indices)]
        return values + [values[0] - values[num_names * place] for place in range(1, len(models))]

    points = measure(np.arange(len(base_ids)))
    intervals = bootstrap_intervals(measure, base_ids, generator, num_resamples=num_resamples)
    figures: dict[str, dict[str, Any]] = {}
    for place, model in enumerate(models):
        own: dict[str, Any] = {"name": model.name}
        for offset, name in enumerate(names, start=num_names * place):
            own |= entry(name, points[offset], intervals[offset])
        if place > 0:
            offset = num_names * len(models) + place - 1
            own |= entry(f"{names[0]}_of_first_minus_this", points[offset], intervals[offset])
        figures[model.key] = own | _cost(model)
    return figures


def _cost(model: ComparedModel) -> dict[str, Any]:
    seconds = model.training_seconds
    return {
        "num_parameters": model.num_parameters,
        "training_seconds": None if seconds is None else round(seconds, 3),
        "run": model.run,
    }
