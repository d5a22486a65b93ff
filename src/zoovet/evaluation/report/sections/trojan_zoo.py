"""The section on a zoo of healthy and trojaned networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.evaluation.report.plots.histograms import histogram
from zoovet.evaluation.zoo_summary import TrojanZooSummary

__all__ = ["trojan_zoo_section"]


def trojan_zoo_section(zoo: TrojanZooSummary) -> dict[str, Any]:
    """Counts by split and by trigger, and distributions by activation."""
    panels: list[dict[str, Any]] = []
    for activation in sorted(set(zoo.activations.tolist())):
        mask = zoo.activations == activation
        kinds = {"healthy": mask & ~zoo.poisoned, "trojaned": mask & zoo.poisoned}
        accuracies = {kind: zoo.clean_accuracy[chosen] for kind, chosen in kinds.items()}
        rates = {kind: zoo.asr[chosen & ~np.isnan(zoo.asr)] for kind, chosen in kinds.items()}
        known = zoo.clean_accuracy[~np.isnan(zoo.clean_accuracy)]
        low, high = (np.floor(10 * known.min()) / 10, np.ceil(10 * known.max()) / 10) if len(known) else (0.0, 1.0)
        panels.append(
            {
                "activation": activation,
                "num_networks": int(mask.sum()),
                "accuracy": histogram(
                    f"zoo-accuracy-{len(panels)}",
                    accuracies,
                    x_label=f"clean accuracy, {activation}",
                    limits=(low, max(high, low + 0.1)),
                ),
                "asr": histogram(f"zoo-asr-{len(panels)}", rates, x_label=f"ASR, {activation}"),
            }
        )
    splits = [name for name in ("train", "validation", "test") if name in zoo.splits]
    return {
        "summary": zoo,
        "num_bases": len(np.unique(zoo.base_ids)),
        "num_trojaned": int(zoo.poisoned.sum()),
        "num_healthy": int((~zoo.poisoned).sum()),
        "splits": [(name, _split_counts(zoo, zoo.splits == name)) for name in splits],
        "triggers": _trigger_counts(zoo),
        "panels": panels,
    }


def _split_counts(zoo: TrojanZooSummary, mask: NDArray[np.bool_]) -> dict[str, int]:
    return {
        "num_bases": len(np.unique(zoo.base_ids[mask])),
        "num_healthy": int((mask & ~zoo.poisoned).sum()),
        "num_trojaned": int((mask & zoo.poisoned).sum()),
    }


def _trigger_counts(zoo: TrojanZooSummary) -> list[tuple[str, int, float]]:
    """Kind, trojaned networks with it, and their mean ASR; of triggers that are known."""
    kinds = sorted(set(zoo.trigger_kinds[zoo.poisoned].tolist()) - {""})
    masks = [(kind, zoo.poisoned & (zoo.trigger_kinds == kind)) for kind in kinds]
    return [(kind, int(mask.sum()), float(zoo.asr[mask].mean())) for kind, mask in masks]
