"""The section on editing INRs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoovet.evaluation.edit_examples import EditExample
from zoovet.evaluation.report.pictures import png_data
from zoovet.evaluation.report.plots.scatter import against
from zoovet.evaluation.results import EditingResults

__all__ = ["editing_section"]

_LEAST_ERROR = 1e-6
"""Errors below are drawn as this one, since the axes are logarithmic."""


def editing_section(
    results: EditingResults, figures: Mapping[str, Any], examples: Sequence[EditExample]
) -> dict[str, Any]:
    """The table of models, every network's error against doing nothing, and pictures side by side."""
    rows, nothing = figures["models"], np.maximum(results.mse_of_nothing, _LEAST_ERROR)
    errors = {model.key: np.maximum(results.mse[model.key], _LEAST_ERROR) for model in results.models}
    every = np.concatenate([nothing, *errors.values()])
    limits = (float(every.min()) / 1.2, float(every.max()) * 1.2)
    return {
        "figures": figures,
        "edit": results.edit,
        "rows": rows,
        "first": next(iter(rows.values())),
        "rivals": list(rows.values())[1:],
        "plots": [
            against(
                f"edit-errors-{place}",
                {model.name: (nothing, errors[model.key])},
                x_label="error of doing nothing",
                y_label="error after editing",
                limits=limits,
                title=model.name,
                on_logarithms=True,
            )
            for place, model in enumerate(results.models)
        ],
        "examples": [_example(example, results) for example in examples],
    }


def _example(example: EditExample, results: EditingResults) -> dict[str, Any]:
    names = {model.key: model.name for model in results.models}
    pictures = {
        "source image": example.source,
        "input": example.before,
        "target": example.target,
        **{names[key]: picture for key, picture in example.after.items()},
    }
    errors = {"input": example.mse_before, **{names[key]: error for key, error in example.mse_after.items()}}
    return {
        "network_id": example.network_id,
        "pictures": [(name, png_data(picture), errors.get(name)) for name, picture in pictures.items()],
    }
