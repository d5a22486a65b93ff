"""What a benchmark of strangers measures: on which park, what is left out, with which images, against which rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from zoovet.errors import ZoovetError, nearest
from zoovet.rivals.single_network import SINGLE_NETWORK_TESTS, Effort, single_network_test
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.tasks.strangers.efforts import DEFAULT_EFFORT, EFFORTS

__all__ = ["KINDS_LEFT_OUT", "OtherImages", "StrangerBenchmarkConfig", "images_name"]

KINDS_LEFT_OUT = ("dataset", "family", "recipe", "attack")
"""Image set, architecture family, recipe (optimizer, and whether images were augmented), attack."""


def images_name(config: StrangerConfig | OtherImages) -> str:
    """Which reference images evidence rests on, as files and tables call it: ``6-labelled``; ``none``."""
    if config.images_per_class == 0:
        return "none"
    return f"{config.images_per_class}-{'labelled' if config.uses_labels else 'unlabelled'}"


@dataclass(frozen=True, kw_only=True)
class OtherImages:
    """Other reference images than the readers learned with, on which test networks are looked at besides.

    Attributes:
        images_per_class: Reference images of each class; 0: images that each network makes itself.
        uses_labels: Whether their labels are used.
        evidence_folder: Where this evidence is kept; null: in the benchmark's folder.

    Raises:
        ZoovetError: A number of images below 0.
    """

    images_per_class: int = 2
    uses_labels: bool = True
    evidence_folder: Path | None = None

    def __post_init__(self) -> None:
        if self.images_per_class < 0:
            raise ZoovetError(f"images_per_class of other_images must be at least 0, got {self.images_per_class}")


@dataclass(frozen=True, kw_only=True)
class StrangerBenchmarkConfig(StrangerConfig):
    """A benchmark of strangers.

    Attributes:
        kind: What is compared.
        zoo: Folder of the park, or of what is built of it.
        evidence_folder: Folder of the park's evidence, a file a base; what lies there is not sought again. null: in the
            benchmark's folder.
        left_out: What networks are strangers by: one dataset (image set), family (of architectures), recipe or attack
            at a time is left out of training.
        efforts: What of the evidence is read: quick, normal, thorough; the first one's tables come first.
        other_images: Other numbers of reference images, or the same without labels, for test networks.
        rivals: Tests of single networks that are put to the test networks, on the same images; [] for none.
        rival_effort: The settings of the rivals' papers, or reduced ones that end in seconds on a processor.
        min_asr: ASR from which a trojaned network counts, in training and in tables.
        few_classes: None: tables are of whole networks.

    Raises:
        ZoovetError: An entry that is unknown, given twice, or missing, or a rival that cannot do without images where
            there are none.
    """

    kind: Literal["strangers"] = "strangers"
    few_classes: tuple[int, ...] = ()
    zoo: Path
    evidence_folder: Path | None = None
    left_out: tuple[str, ...] = KINDS_LEFT_OUT
    efforts: tuple[str, ...] = (DEFAULT_EFFORT,)
    other_images: tuple[OtherImages, ...] = ()
    rivals: tuple[str, ...] = tuple(SINGLE_NETWORK_TESTS)
    rival_effort: Effort = "reduced"
    min_asr: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.few_classes:
            raise ZoovetError(f"few_classes must be [], as tables are of whole networks, got {list(self.few_classes)}")
        for name, known, least in (
            ("left_out", KINDS_LEFT_OUT, 1),
            ("efforts", EFFORTS, 1),
            ("rivals", tuple(SINGLE_NETWORK_TESTS), 0),
        ):
            _require_known(name, getattr(self, name), known, least)
        names = [images_name(self), *map(images_name, self.other_images)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ZoovetError(
                f"other_images must differ from one another and from the readers' own, got {twice[0]} twice"
            )
        if self.images_per_class == 0:
            for name in self.rivals:
                if single_network_test(name, self.rival_effort).needs_images:
                    raise ZoovetError(f"rivals has {name!r}, which needs images, but images_per_class is 0")
        if not 0 <= self.min_asr <= 1:
            raise ZoovetError(f"min_asr must lie in [0, 1], got {self.min_asr}")

    @property
    def detector(self) -> StrangerConfig:
        """How readers are trained, and what their evidence rests on."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(StrangerConfig)}
        return StrangerConfig(**values)

    @property
    def by_images(self) -> dict[str, StrangerConfig]:
        """How evidence is sought, by the name of its images; the readers' own come first."""
        own = self.detector
        others = {
            images_name(other): replace(own, images_per_class=other.images_per_class, uses_labels=other.uses_labels)
            for other in self.other_images
        }
        return {images_name(self): own, **others}

    def evidence_place(self, images: str, out: Path) -> Path:
        """Where evidence is kept.

        Args:
            images: The name of what it rests on.
            out: Folder of the benchmark.
        """
        given = {images_name(other): other.evidence_folder for other in self.other_images}
        given[images_name(self)] = self.evidence_folder
        return given[images] or out / "evidence" / images


def _require_known(name: str, entries: Sequence[str], known: Sequence[str], least: int) -> None:
    for entry in entries:
        if entry not in known:
            raise ZoovetError(f"{name} has the unknown entry {entry!r}{nearest(entry, known)}")
    if len(entries) < least or len(set(entries)) < len(entries):
        raise ZoovetError(f"{name} must be different ones of {', '.join(known)}, got {list(entries)}")
