"""A repair's configuration refuses what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from zoovet.errors import ZoovetError
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.tasks.repair_config import ClosingLosses, RepairConfig
from zoovet.tasks.training_config import TrainingConfig

EDITING = ScaleGMNConfig(output="weights", direction="forward")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metanetwork": ScaleGMNConfig()}, "repair needs a metanetwork with output 'weights', got 'graph'"),
        ({"gate": EDITING}, "the gate needs output 'graph' and num_outputs 1, got 'weights' and 1"),
        ({"loss": "other"}, "loss must be 'function' or 'weights', got 'other'"),
        ({"trojaned_share": 1.0}, "trojaned_share must lie between 0 and 1, got 1.0"),
        ({"num_clean_images": 0}, "num_clean_images must be at least 1, got 0"),
        ({"sibling_share": 1.5}, r"sibling_share must lie in \[0, 1\], got 1\.5"),
        ({"triggered_sibling_share": -0.1}, r"triggered_sibling_share must lie in \[0, 1\], got -0\.1"),
        ({"closing": ClosingLosses()}, "closing needs a share of the training; set training.closing_share, or closing"),
        (
            {"closing": ClosingLosses(attack_weight=-1.0), "training": TrainingConfig(closing_share=0.2)},
            "closing.attack_weight must be at least 0, got -1.0",
        ),
        ({"error_weight": -1.0}, r"error_weight must be at least 0, got -1\.0"),
        ({"attack_weight": float("nan")}, "attack_weight must be at least 0, got nan"),
        ({"keep_weight": -1.0}, "keep_weight must be at least 0, got -1.0"),
        ({"target_asr": 1.0}, "target_asr must be at least 0 and below 1, got 1.0"),
        ({"strengths": (1.0, 0.0)}, r"strengths must list at least one number above 0, got \[1.0, 0.0\]"),
    ],
)
def test_configurations_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        RepairConfig(**options)
