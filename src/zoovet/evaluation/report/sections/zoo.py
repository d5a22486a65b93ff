"""The section on the zoo, whatever kind it is of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.evaluation.report.pictures import png_data
from zoovet.evaluation.report.plots.histograms import histogram
from zoovet.evaluation.report.sections.trojan_zoo import trojan_zoo_section
from zoovet.evaluation.zoo_summary import AccuracyZooSummary, InrZooSummary, TrojanZooSummary, ZooSummary

__all__ = ["zoo_section"]

_SPLITS = ("train", "validation", "test")


def zoo_section(zoo: ZooSummary) -> dict[str, Any]:
    """What the template of the zoo's kind shows; ``kind`` names it."""
    if isinstance(zoo, TrojanZooSummary):
        return {"kind": "trojan", **trojan_zoo_section(zoo)}
    return {
        "kind": "inr" if isinstance(zoo, InrZooSummary) else "accuracy",
        "summary": zoo,
        "num_bases": len(np.unique(zoo.base_ids)),
        "splits": [(name, _counts(zoo.base_ids, zoo.splits == name)) for name in _SPLITS if name in zoo.splits],
        **(_inr_parts(zoo) if isinstance(zoo, InrZooSummary) else _accuracy_parts(zoo)),
    }


def _inr_parts(zoo: InrZooSummary) -> dict[str, Any]:
    known = zoo.psnr[~np.isnan(zoo.psnr)]
    plot = None
    if len(known):
        limits = (float(np.floor(known.min())), float(np.ceil(known.max())) + 1e-6)
        plot = histogram(
            "zoo-psnr", {"INRs": known}, x_label="PSNR in dB", limits=limits, roles={"INRs": "healthy"}, num_bins=40
        )
    return {
        "psnr": plot,
        "mean_psnr": float(known.mean()) if len(known) else None,
        "reconstructions": [
            {"made": made, "image": png_data(made.image), "picture": png_data(made.picture)}
            for made in zoo.reconstructions
        ],
    }


def _accuracy_parts(zoo: AccuracyZooSummary) -> dict[str, Any]:
    activations = sorted(set(zoo.activations.tolist()))
    roles = dict(zip(activations, ("healthy", "rival", "rival_2", "rival_3", "detector"), strict=False))
    groups = {name: zoo.clean_accuracy[zoo.activations == name] for name in roles}
    return {
        "accuracy": histogram("zoo-accuracy", groups, x_label="test accuracy", roles=roles, num_bins=40),
        "least": float(np.nanmin(zoo.clean_accuracy)),
        "most": float(np.nanmax(zoo.clean_accuracy)),
        "steps": sorted(set(zoo.steps[zoo.steps >= 0].tolist())),
    }


def _counts(base_ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> dict[str, int]:
    return {"num_bases": len(np.unique(base_ids[mask])), "num_networks": int(mask.sum())}
