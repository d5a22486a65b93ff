"""The report's sections: from results to what the template shows, plots drawn and numbers chosen."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoovet.evaluation.breakdown import detection_groups, repair_groups
from zoovet.evaluation.examples import NetworkExamples
from zoovet.evaluation.report import plots
from zoovet.evaluation.results import DetectionResults, RepairResults
from zoovet.evaluation.zoo_summary import ZooSummary

__all__ = ["detection_section", "edits_section", "examples_section", "network_rows", "repair_section", "zoo_section"]

_NUM_LISTED = 15
_NUM_MAPPED = 8


def zoo_section(zoo: ZooSummary) -> dict[str, Any]:
    """Counts by split and by trigger, and distributions by activation."""
    panels: list[dict[str, Any]] = []
    for activation in sorted(set(zoo.activations.tolist())):
        mask = zoo.activations == activation
        kinds = {"healthy": mask & ~zoo.poisoned, "trojaned": mask & zoo.poisoned}
        accuracies = {kind: zoo.clean_accuracy[chosen] for kind, chosen in kinds.items()}
        rates = {kind: zoo.asr[chosen & ~np.isnan(zoo.asr)] for kind, chosen in kinds.items()}
        low = np.floor(10 * float(zoo.clean_accuracy.min())) / 10
        high = np.ceil(10 * float(zoo.clean_accuracy.max())) / 10
        panels.append(
            {
                "activation": activation,
                "num_networks": int(mask.sum()),
                "accuracy": plots.histogram(
                    f"zoo-accuracy-{len(panels)}",
                    accuracies,
                    x_label=f"clean accuracy, {activation}",
                    limits=(low, max(high, low + 0.1)),
                ),
                "asr": plots.histogram(f"zoo-asr-{len(panels)}", rates, x_label=f"ASR, {activation}"),
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


def detection_section(results: DetectionResults, figures: Mapping[str, Any]) -> dict[str, Any]:
    """ROC curves, score histograms, the table of detectors, the groups, and the networks told wrongly."""
    own = {key: figures[key] for key in figures if key != "rivals"}
    rows = {results.detector: own, **figures["rivals"]}
    scores = {results.detector: results.scores, **results.rivals}
    thresholds = {results.detector: results.threshold, **results.rival_thresholds}
    flagged = results.scores >= results.threshold
    histograms = [
        plots.histogram(
            f"scores-{position}",
            {"healthy": given[~results.poisoned], "trojaned": given[results.poisoned]},
            x_label=f"score by {detector}",
            limits=_score_limits(given),
            threshold=thresholds[detector],
            size=(470, 210),
        )
        for position, (detector, given) in enumerate(scores.items())
    ]
    return {
        "results": results,
        "figures": own,
        "rows": rows,
        "roc": plots.roc_curves(
            "roc", results.poisoned, scores, thresholds, {name: row["auc"] for name, row in rows.items()}
        ),
        "histograms": histograms,
        "groups": detection_groups(results),
        "missed": _wrong(results, results.poisoned & ~flagged, ascending=True),
        "false_alarms": _wrong(results, ~results.poisoned & flagged, ascending=False),
        "num_missed": int((results.poisoned & ~flagged).sum()),
        "num_false_alarms": int((~results.poisoned & flagged).sum()),
    }


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
            plot = plots.before_after(
                f"repair-{name}", before[mask], after[mask], y_label=label, role=role, limits=limits
            )
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
        "layers": plots.edits_by_layer("edits", results.layer_names, results.relative_changes, results.poisoned),
        "channels": plots.channel_map(
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


def examples_section(examples: Sequence[NetworkExamples], repair: RepairResults | None) -> list[dict[str, Any]]:
    """Images as PNG data, with the verdict on every prediction."""
    places = {} if repair is None else {name: place for place, name in enumerate(repair.network_ids)}
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
                        when: [
                            (network.class_names[label], _verdict(label, example.label, network.target))
                            for label in labels
                        ]
                        for when, labels in answers.items()
                    },
                }
            )
        rates = None
        if repair is not None and place is not None:
            rates = (float(repair.asr_before[place]), float(repair.asr_after[place]))
        section.append(
            {"network": network, "target": network.class_names[network.target], "asr": rates, "tiles": tiles}
        )
    return section


def network_rows(detection: DetectionResults | None, repair: RepairResults | None) -> list[dict[str, Any]]:
    """One row a network, with what detection and repair say of it."""
    rows: dict[str, dict[str, Any]] = {}
    if detection is not None:
        for place, name in enumerate(detection.network_ids):
            flagged = bool(detection.scores[place] >= detection.threshold)
            poisoned = bool(detection.poisoned[place])
            rows[name] = {
                "network_id": name,
                "activation": detection.activations[place],
                "poisoned": poisoned,
                "score": float(detection.scores[place]),
                "flagged": flagged,
                "wrong": flagged != poisoned,
            }
    if repair is not None:
        for place, name in enumerate(repair.network_ids):
            row = rows.setdefault(
                name,
                {
                    "network_id": name,
                    "activation": repair.activations[place],
                    "poisoned": bool(repair.poisoned[place]),
                },
            )
            for figure in ("clean_accuracy", "asr", "ra"):
                row[figure] = tuple(float(getattr(repair, f"{figure}_{when}")[place]) for when in ("before", "after"))
    return list(rows.values())


def png_data(pixels: NDArray[np.uint8]) -> str:
    """A ``data:`` address of a uint8 image [C, H, W] with one or three channels."""
    picture = Image.fromarray(pixels[0] if pixels.shape[0] == 1 else np.moveaxis(pixels, 0, -1))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _split_counts(zoo: ZooSummary, mask: NDArray[np.bool_]) -> dict[str, int]:
    return {
        "num_bases": len(np.unique(zoo.base_ids[mask])),
        "num_healthy": int((mask & ~zoo.poisoned).sum()),
        "num_trojaned": int((mask & zoo.poisoned).sum()),
    }


def _trigger_counts(zoo: ZooSummary) -> list[tuple[str, int, float]]:
    """Kind, trojaned networks with it, and their mean ASR."""
    kinds = sorted(set(zoo.trigger_kinds[zoo.poisoned].tolist()))
    masks = [(kind, zoo.poisoned & (zoo.trigger_kinds == kind)) for kind in kinds]
    return [(kind, int(mask.sum()), float(zoo.asr[mask].mean())) for kind, mask in masks]


def _score_limits(scores: NDArray[np.float64]) -> tuple[float, float]:
    """0 to 1 for probabilities, else as far as the scores reach."""
    low, high = float(scores.min()), float(scores.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6))


def _wrong(results: DetectionResults, mask: NDArray[np.bool_], *, ascending: bool) -> list[dict[str, Any]]:
    """The networks told wrongly, the most wrong first."""
    places = np.flatnonzero(mask)
    order = np.argsort(results.scores[places] if ascending else -results.scores[places], kind="stable")
    return [
        {
            "network_id": results.network_ids[place],
            "activation": results.activations[place],
            "score": float(results.scores[place]),
            "asr": float(results.asr[place]),
        }
        for place in places[order][:_NUM_LISTED]
    ]


def _verdict(prediction: int, label: int, target: int) -> str:
    if prediction == label:
        return "right"
    return "target" if prediction == target else "wrong"
