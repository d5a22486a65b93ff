"""The sections on repair: before and after, edits of the weights, and images that the networks see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoovet.evaluation.breakdown import repair_groups
from zoovet.evaluation.examples import ImageExample, NetworkExamples
from zoovet.evaluation.report.pictures import png_data
from zoovet.evaluation.report.plots.repair import before_after, channel_map, edits_by_layer
from zoovet.evaluation.results import RepairResults

__all__ = ["edits_section", "examples_section", "repair_section"]

_NUM_MAPPED = 8


def repair_section(results: RepairResults, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Before and after, network by network, and the groups."""
    trojaned, healthy = results.poisoned, ~results.poisoned
    accuracies = np.concatenate([results.clean_accuracy_before, results.clean_accuracy_after])
    span = (max(0.0, float(accuracies.min()) - 0.03), min(1.0, float(accuracies.max()) + 0.03))
    drawn = []
    for name, mask, before, after, label, limits in (
        ("asr", trojaned, results.asr_before, results.asr_after, "ASR", (-0.03, 1.03)),
        ("accuracy", trojaned, results.clean_accuracy_before, results.clean_accuracy_after, "clean accuracy", span),
        ("healthy", healthy, results.clean_accuracy_before, results.clean_accuracy_after, "clean accuracy", span),
    ):
        if mask.any():
            role = "healthy" if mask is healthy else "trojaned"
            plot = before_after(f"repair-{name}", before[mask], after[mask], y_label=label, role=role, limits=limits)
            drawn.append((f"{label[0].upper()}{label[1:]} of {role} networks", plot))
    return {"results": results, "figures": figures, "plots": drawn, "groups": repair_groups(results)}


def edits_section(results: RepairResults) -> dict[str, Any]:
    """Which layers repair changes most, and which channels in the most edited networks."""
    total = np.nansum(results.relative_changes**2, axis=1)
    chosen = np.argsort(-total, kind="stable")[:_NUM_MAPPED]
    medians = {
        kind: np.nanmedian(results.relative_changes[mask], axis=0)
        for kind, mask in (("healthy", ~results.poisoned), ("trojaned", results.poisoned))
        if mask.any()
    }
    return {
        "layers": edits_by_layer("edits", results.layer_names, results.relative_changes, results.poisoned),
        "channels": channel_map(
            "channels",
            [results.network_ids[place] for place in chosen],
            results.layer_names,
            [change[chosen] for change in results.channel_changes],
        ),
        "largest_channel_change": max(
            float(np.nanmax(change[chosen], initial=0.0)) for change in results.channel_changes
        ),
        "medians": [
            (name, {kind: float(values[layer]) for kind, values in medians.items()})
            for layer, name in enumerate(results.layer_names)
        ],
    }


def examples_section(examples: Sequence[NetworkExamples], repair: RepairResults) -> list[dict[str, Any]]:
    """Images as PNG data, with the verdict on every prediction."""
    places = {name: place for place, name in enumerate(repair.network_ids)}
    section = []
    for network in examples:
        place = places.get(network.network_id)
        tiles = []
        for example in network.images:
            answers = {
                "before": (example.clean_before, example.triggered_before),
                "after": (example.clean_after, example.triggered_after),
            }
            tiles.append(
                {
                    "clean": png_data(example.clean),
                    "triggered": png_data(example.triggered),
                    "label": network.class_names[example.label],
                    "answers": {
                        when: [(network.class_names[label], _verdict(label, example)) for label in labels]
                        for when, labels in answers.items()
                    },
                }
            )
        rates = None
        if place is not None:
            rates = (float(repair.asr_before[place]), float(repair.asr_after[place]))
        target = "the next class" if network.target is None else network.class_names[network.target]
        section.append({"network": network, "target": target, "asr": rates, "tiles": tiles})
    return section


def _verdict(prediction: int, example: ImageExample) -> str:
    if prediction == example.label:
        return "right"
    return "target" if prediction == example.wanted else "wrong"
