"""What the demo does; its values stand in ``demo.yaml`` beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from zoovet.config import read_config
from zoovet.tasks import DetectionConfig, RepairConfig
from zoovet.zoo import TrojanRecipe

__all__ = ["DemoConfig", "demo_config"]


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """A zoo, and what is learned on it.

    Attributes:
        zoo: What it holds.
        detection: How the detector is trained.
        repair: How the repairer is trained.
    """

    zoo: TrojanRecipe
    detection: DetectionConfig
    repair: RepairConfig


def demo_config(overrides: Mapping[str, Any]) -> DemoConfig:
    """The demo, changed by dotted overrides.

    Raises:
        ZoovetError: A key is unknown, or a value does not fit.
    """
    with resources.as_file(resources.files("zoovet.cli").joinpath("demo.yaml")) as path:
        return read_config(DemoConfig, path, overrides, where="demo.yaml")
