"""What a benchmark compares, on which zoos, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from zoovet.benchmark.detectors import DETECTORS
from zoovet.benchmark.repairers import REPAIRERS
from zoovet.errors import ZoovetError, nearest
from zoovet.tasks.detection_config import DetectionConfig
from zoovet.tasks.repair_config import RepairConfig

__all__ = ["PARTS", "BenchmarkConfig"]

PARTS = ("seen", "unseen", "sizes", "transfer", "repair")
"""Families seen in training; one family left out of it; fewer training bases; another dataset's networks; repair."""

_COUNTS = (
    "num_clean_images",
    "num_images",
    "num_slow_bases",
    "num_slow_repair_bases",
    "num_trained_repair_bases",
    "num_choice_bases",
)


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """A benchmark.

    Attributes:
        kind: What is compared.
        zoos: Folders of the zoos; each is called by its folder's name.
        parts: What is measured, of ``seen``, ``unseen``, ``sizes``, ``transfer`` and ``repair``.
        seeds: Of every training that draws anything; what draws nothing runs once.
        detectors: Detectors to compare.
        repairers: Repairers to compare.
        unseen_detectors: Detectors that are also trained without each family; empty for all that are trained.
        families: Families that are left out one at a time; empty for all that the zoo has.
        sizes: Numbers of training bases, beside all of them.
        sized_detectors: Detectors that are also trained on fewer bases; empty for all that are trained.
        min_asr: ASR from which a trojaned test network counts.
        num_clean_images: Training images without trigger that rivals are given which need some.
        num_images: Test images that repair is measured on, evenly spaced; null for all.
        num_slow_bases: Test bases, evenly spaced, whose networks are scored by detectors that take seconds for each;
            null for all.
        num_slow_repair_bases: The same for repairers that take seconds for each network.
        num_trained_repair_bases: The same for others that train on images for each network.
        num_choice_bases: Validation bases, evenly spaced, on which rival repairers' settings are chosen; null for all.
        detection: How ScaleGMN is trained to detect.
        repair: How ScaleGMN is trained to repair.

    Raises:
        ZoovetError: A detector, repairer or part that is unknown, no zoo, two of one name, no seed, or a number out of
            its range.
    """

    kind: Literal["trojan"] = "trojan"
    zoos: tuple[Path, ...]
    parts: tuple[str, ...] = PARTS
    seeds: tuple[int, ...] = (0, 1, 2)
    detectors: tuple[str, ...] = tuple(DETECTORS)
    repairers: tuple[str, ...] = tuple(REPAIRERS)
    unseen_detectors: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (50, 100, 200, 400)
    sized_detectors: tuple[str, ...] = ()
    min_asr: float = 0.5
    num_clean_images: int = 500
    num_images: int | None = 2000
    num_slow_bases: int | None = 40
    num_slow_repair_bases: int | None = 40
    num_trained_repair_bases: int | None = 120
    num_choice_bases: int | None = 20
    detection: DetectionConfig = field(default_factory=DetectionConfig)
    repair: RepairConfig = field(default_factory=RepairConfig)

    def __post_init__(self) -> None:
        for name, known in (
            ("parts", PARTS),
            ("detectors", DETECTORS),
            ("unseen_detectors", DETECTORS),
            ("sized_detectors", DETECTORS),
            ("repairers", REPAIRERS),
        ):
            for entry in getattr(self, name):
                if entry not in known:
                    raise ZoovetError(f"{name} has the unknown entry {entry!r}{nearest(entry, known)}")
        names = [path.name for path in self.zoos]
        if not names or len(set(names)) < len(names):
            raise ZoovetError(f"zoos must be one or several folders of different names, got {names}")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ZoovetError(f"seeds must be different numbers of at least 0, got {list(self.seeds)}")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ZoovetError(f"{name} must be at least 1, got {value}")
        if min(self.sizes, default=1) < 1:
            raise ZoovetError(f"sizes must be at least 1 base, got {list(self.sizes)}")
        if not 0 <= self.min_asr <= 1:
            raise ZoovetError(f"min_asr must lie in [0, 1], got {self.min_asr}")

    @property
    def trained_unseen(self) -> tuple[str, ...]:
        """Detectors of the part ``unseen``."""
        return self.unseen_detectors or tuple(name for name in self.detectors if DETECTORS[name].trained)

    @property
    def trained_on_fewer(self) -> tuple[str, ...]:
        """Detectors of the part ``sizes``."""
        return self.sized_detectors or tuple(name for name in self.detectors if DETECTORS[name].trained)
