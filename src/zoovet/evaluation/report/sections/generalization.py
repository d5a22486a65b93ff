"""The section on predicting test accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoovet.evaluation.report.plots.scatter import against
from zoovet.evaluation.results import GeneralizationResults

__all__ = ["generalization_section"]


def generalization_section(results: GeneralizationResults, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The table of models, the same by activation, and predictions against what was measured."""
    activations = np.array(results.activations)
    return {
        "figures": figures,
        "rows": figures["models"],
        "first": next(iter(figures["models"].values())),
        "rivals": list(figures["models"].values())[1:],
        "names": {model.key: model.name for model in results.models},
        "groups": figures["groups"],
        "plots": [
            (
                model.name,
                against(
                    f"predicted-{place}",
                    {
                        str(name): (
                            results.accuracies[activations == name],
                            results.predictions[model.key][activations == name],
                        )
                        for name in np.unique(activations)
                    },
                    x_label="measured test accuracy",
                    y_label=f"predicted by {model.name}",
                    limits=(0.0, 1.0),
                ),
            )
            for place, model in enumerate(results.models)
        ],
    }
