"""headline_figures: the figures of everything that was measured, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoovet.evaluation.figures.classification import classification_figures
from zoovet.evaluation.figures.detection import detection_figures
from zoovet.evaluation.figures.editing import editing_figures
from zoovet.evaluation.figures.generalization import generalization_figures
from zoovet.evaluation.figures.repair import repair_figures
from zoovet.evaluation.measured import Measured
from zoovet.files import write_json

__all__ = ["headline_figures", "write_figures"]


def headline_figures(
    measured: Measured,
    *,
    seed: int,
    wall_time_seconds: float,
    commands: Sequence[str] = (),
    num_resamples: int = 1000,
) -> dict[str, Any]:
    """Figures of the parts that were evaluated, as JSON values.

    Args:
        measured: What was measured.
        seed: Seed of the run; the bootstrap draws come from it.
        wall_time_seconds: Wall time of the run.
        commands: How the same is made again.
        num_resamples: Resamples a bootstrap interval.

    Returns:
        ``detection`` (``auc``, ``accuracy``, ``tpr_at_1pct_fpr``, ``statnn_auc`` or null, ``auc_minus_statnn_auc``,
        ``threshold``, ``rivals``), ``repair`` (``clean_accuracy_before`` … ``ra_after`` of trojaned networks alone,
        ``healthy_accuracy_before`` and ``…_after``, and the accuracies lost), each with ``num_networks``,
        ``num_trojaned``, ``num_healthy`` and ``num_bases``; ``inr_classification``, ``inr_editing`` (with ``nothing``)
        and ``generalization`` (with ``groups``), each with ``models`` by key, ``num_networks`` and ``num_bases``; then
        ``seed``, ``wall_time_seconds`` and ``commands``. A figure's ``…_interval`` is [low, high], 95 %, from a
        bootstrap over bases. A figure of networks that are not there is null.

    Raises:
        ZoovetError: Detection was measured on healthy or on trojaned networks alone, or generalization on networks of
            one and the same accuracy.
    """

    def draws(part: int) -> np.random.Generator:
        return np.random.default_rng([seed, part])

    contents: dict[str, Any] = {}
    if measured.detection is not None:
        contents["detection"] = detection_figures(measured.detection, draws(0), num_resamples)
    if measured.repair is not None:
        contents["repair"] = repair_figures(measured.repair, draws(1), num_resamples)
    if measured.classification is not None:
        contents["inr_classification"] = classification_figures(measured.classification, draws(3), num_resamples)
    if measured.editing is not None:
        contents["inr_editing"] = editing_figures(measured.editing, draws(4), num_resamples)
    if measured.generalization is not None:
        contents["generalization"] = generalization_figures(measured.generalization, draws(5), num_resamples)
    return {
        **contents,
        "seed": seed,
        "wall_time_seconds": round(wall_time_seconds, 1),
        "commands": list(commands),
    }


def write_figures(path: Path, contents: Mapping[str, Any]) -> None:
    """Write figures as JSON, atomically."""
    write_json(path, dict(contents))
