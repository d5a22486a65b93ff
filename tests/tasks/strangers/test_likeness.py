"""Likeness is told by what evidence comes to on average, shares as shares."""

from __future__ import annotations

import pytest
import torch

from zoovet.evidence.class_features import FEATURES, KINDS, ClassFeatures
from zoovet.tasks.strangers.likeness import fitted_likeness

FLIPS = FEATURES.index("flips, log odds")


def with_flips(share: float) -> ClassFeatures:
    """Of a network in which every search turns this share of images."""
    values = torch.zeros(4, len(KINDS), len(FEATURES))
    values[:, :, FLIPS] = torch.tensor(share).logit() / 3.0
    return ClassFeatures(values, torch.ones(len(KINDS), dtype=torch.bool))


def test_what_hardly_anything_causes_is_no_farther_than_it_is_in_shares() -> None:
    likeness = fitted_likeness([with_flips(share) for share in (0.45, 0.5, 0.55)])
    rare, often = (likeness.distance(with_flips(0.5 + by)) for by in (-0.45, 0.45))
    half = likeness.distance(with_flips(0.5 - 0.225))
    assert rare == pytest.approx(often, rel=1e-3)
    assert rare == pytest.approx(2 * half, rel=0.02)  # in log odds it would be three times as far
