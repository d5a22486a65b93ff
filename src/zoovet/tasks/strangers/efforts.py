"""How much is sought in a network: efforts, each a part of the evidence that a detector learned on.

A detector has readers of their own for each, so that what it says of rates holds for every effort. Of the kinds of
evidence a few carry nearly all that all of them say together; the others are for who has time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from zoovet.errors import ZoovetError, nearest
from zoovet.evidence import ClassEvidenceConfig
from zoovet.evidence.class_features import KINDS, SEARCHES, ClassFeatures

__all__ = ["DEFAULT_EFFORT", "EFFORTS", "as_sought", "evidence_for"]

_COUNTS: Mapping[str, Mapping[str, int]] = {
    "quick": {
        "patch_sizes": 0,
        "usual_patch_sizes": 1,
        "usual_blend_weights": 0,
        "pixel_factors": 0,
        "change_factors": 1,
        "smooth_factors": 0,
        "warp_factors": 1,
        "stripe_amplitudes": 1,
        "blend_weights": 1,
        "warp_movements": 0,
    },
    "normal": {
        "patch_sizes": 1,
        "usual_patch_sizes": 2,
        "usual_blend_weights": 1,
        "pixel_factors": 1,
        "change_factors": 1,
        "smooth_factors": 1,
        "warp_factors": 1,
        "stripe_amplitudes": 2,
        "blend_weights": 2,
        "warp_movements": 1,
    },
    "thorough": {},
}
"""Of each kind of search, how many of its sizes are sought: the first ones; all where nothing is said."""

EFFORTS = tuple(_COUNTS)
"""From least to most."""

DEFAULT_EFFORT = "normal"


def evidence_for(config: ClassEvidenceConfig, effort: str) -> ClassEvidenceConfig:
    """What of the evidence a detector learned on is sought with an effort.

    Raises:
        ZoovetError: There is no such effort.
    """
    if effort not in EFFORTS:
        raise ZoovetError(f"the effort {effort!r} is unknown{nearest(effort, EFFORTS)}")
    kept: dict[str, Any] = {name: getattr(config, name)[:count] for name, count in _COUNTS[effort].items()}
    return replace(config, **kept)


def as_sought(features: ClassFeatures, config: ClassEvidenceConfig) -> ClassFeatures:
    """The same without the searches that ``config`` does not ask for."""
    left_out = set(SEARCHES) - set(config.searches)
    if not left_out:
        return features
    kept = torch.tensor([kind not in left_out for kind in KINDS], device=features.present.device)
    return ClassFeatures(features.values * kept[:, None], features.present & kept)
