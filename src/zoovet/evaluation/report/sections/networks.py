"""The table of every network, with what detection and repair say of it."""

from __future__ import annotations

from typing import Any

from zoovet.evaluation.results import DetectionResults, RepairResults

__all__ = ["network_rows"]


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
