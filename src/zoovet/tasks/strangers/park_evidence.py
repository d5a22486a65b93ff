"""Evidence of the classes of a park's networks: sought once a network, kept in a folder, and gone on with there.

Each base has a file of its own, whole or absent, so that the work may stop at any moment, and be shared by processes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import ClassEvidence, Runnable, class_evidence
from zoovet.evidence.class_features import class_features
from zoovet.files import require_writable_folder
from zoovet.images import Images
from zoovet.jobs import Inline, Processes, Runner, Tell, results
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.tasks.strangers.evidence_files import (
    evidence_in,
    evidence_row,
    is_evidence_there,
    read_evidence,
    write_evidence,
)
from zoovet.tasks.strangers.examined import Examined, LabelledFeatures
from zoovet.tasks.strangers.few_classes import CutNetworks, cut_images, drawn_classes
from zoovet.zoo import Zoo
from zoovet.zoo.builders import recipe_of
from zoovet.zoo.compiled_runnable import fastest_runnable
from zoovet.zoo.park import ParkRecipe
from zoovet.zoo.park.images import load_image_set

__all__ = ["ImageSets", "ParkEvidence", "found_evidence", "kinds_of", "park_recipe", "reference_images"]

_NUM_DRAWS = 5
"""Of classes, before two bases draw the same."""


@dataclass(frozen=True)
class ParkEvidence:
    """Where evidence is sought and kept.

    Attributes:
        zoo: The park, or what is built of it.
        config: What is sought.
        folder: Where it is kept, a file a base.
        data_root: Folder of image datasets; ``None``: the usual one.
    """

    zoo: Zoo
    config: StrangerConfig
    folder: Path
    data_root: Path | None

    def file_of(self, base_id: int) -> Path:
        """A base's file."""
        return self.folder / f"{base_id:05d}.parquet"

    def few_file_of(self, base_id: int) -> Path:
        """The file of a base's networks that are cut to few classes."""
        return self.folder / f"{base_id:05d}-few.parquet"

    @property
    def fingerprint(self) -> str:
        """What evidence depends on beside the network: a hash of the configuration."""
        return _digest(self._sought)

    @property
    def few_fingerprint(self) -> str:
        """The same of networks that are cut to few classes."""
        return _digest(self._sought | {"few_classes": self.config.few_classes})

    @property
    def _sought(self) -> dict[str, Any]:
        sought: dict[str, Any] = {
            "images_per_class": self.config.images_per_class,
            "evidence": asdict(self.config.evidence),
        }
        if not self.config.uses_labels:
            sought["uses_labels"] = False
        return sought

    def seek(self, base_id: int, images: Callable[[str], Images]) -> None:
        """Seek what lacks of the evidence of a base's networks, and write its files.

        Args:
            base_id: Which.
            images: From an image set's name to its test images.
        """
        if not is_evidence_there(self.file_of(base_id), self.fingerprint):
            rows = [self._found(place, images) for place in self._places(base_id)]
            write_evidence(self.file_of(base_id), rows, self.fingerprint)
        if self.config.few_classes and not is_evidence_there(self.few_file_of(base_id), self.few_fingerprint):
            rows = [row for place in self._places(base_id) for row in self._found_of_few(place, images)]
            write_evidence(self.few_file_of(base_id), rows, self.few_fingerprint)

    def is_there(self, base_id: int) -> bool:
        """Whether all of a base's evidence is there, and is what is sought.

        Raises:
            ZoovetError: It was sought otherwise, or is damaged.
        """
        has_few = not self.config.few_classes or is_evidence_there(self.few_file_of(base_id), self.few_fingerprint)
        return is_evidence_there(self.file_of(base_id), self.fingerprint) and has_few

    def rows(self) -> list[Examined]:
        """What is there, a row a network of the park, in its order."""
        return self._rows(self.file_of)

    def rows_of_few(self) -> list[Examined]:
        """What is there of networks that are cut to few classes, several rows a network of the park."""
        return self._rows(self.few_file_of) if self.config.few_classes else []

    def _places(self, base_id: int) -> list[int]:
        return [int(place) for place in np.flatnonzero(self.zoo.column("base_id") == base_id)]

    def _found(self, place: int, images: Callable[[str], Images]) -> dict[str, Any]:
        start = time.process_time()
        return self._row(place, self._evidence(self._network(place), self._shown(place, images)), start)

    def _found_of_few(self, place: int, images: Callable[[str], Images]) -> list[dict[str, Any]]:
        network, shown, target = self._network(place), self._shown(place, images), self._target(place)
        counts = [count for count in self.config.few_classes if count < network.num_classes]
        rows = []
        for draw, count in enumerate(counts):
            start = time.process_time()
            seed = int(self.zoo.column("base_id")[place]) * _NUM_DRAWS + draw
            classes = drawn_classes(network.num_classes, count, target, seed)
            own = None if shown is None else cut_images(shown, classes)
            found = self._evidence(CutNetworks(network, classes), own)
            rows.append(self._row(place, found, start) | {"classes": classes.tolist()})
        return rows

    def _network(self, place: int) -> Runnable:
        return fastest_runnable(self.zoo.networks([place]))

    def _is_trojaned(self, place: int) -> bool:
        return bool(self.zoo.column("poisoned")[place])

    def _target(self, place: int) -> int | None:
        """The one class that a trigger causes; ``None`` of a healthy network, and where each class becomes another."""
        target = int(self.zoo.column("target")[place])
        return target if self._is_trojaned(place) and target >= 0 else None

    def _shown(self, place: int, images: Callable[[str], Images]) -> Images | None:
        if not self.config.images_per_class:
            return None
        base_id = int(self.zoo.column("base_id")[place])
        return reference_images(images(str(self.zoo.column("dataset")[place])), self.config, base_id)

    def _evidence(self, network: Runnable, shown: Images | None) -> ClassEvidence:
        pixels: Tensor | None = None
        labels: Tensor | None = None
        if shown is not None:
            pixels, labels = shown.pixels, shown.required_labels if self.config.uses_labels else None
        return class_evidence(network, pixels, labels, self.config.evidence)

    def _row(self, place: int, found: ClassEvidence, start: float) -> dict[str, Any]:
        return {
            "network_id": str(self.zoo.column("network_id")[place]),
            "base_id": int(self.zoo.column("base_id")[place]),
            **evidence_row(found),
            "seconds": time.process_time() - start,
        }

    def _rows(self, file_of: Callable[[int], Path]) -> list[Examined]:
        stored: dict[str, list[dict[str, Any]]] = {}
        for base_id in sorted(set(self.zoo.column("base_id").tolist())):
            if self.is_there(base_id):
                for row in read_evidence(file_of(base_id)):
                    stored.setdefault(row["network_id"], []).append(row)
        names = self.zoo.column("network_id")
        return [self._examined(place, row) for place in range(len(names)) for row in stored.get(names[place], [])]

    def _examined(self, place: int, stored: Mapping[str, Any]) -> Examined:
        zoo, found, target = self.zoo, evidence_in(stored), self._target(place)
        if target is not None and "classes" in stored:
            target = stored["classes"].index(target)
        row = None if target is None else found.row_of(target)
        is_trojaned = self._is_trojaned(place)
        return Examined(
            network_id=stored["network_id"],
            base_id=stored["base_id"],
            **{name: str(zoo.column(name)[place]) for name in ("dataset", "family", "attack", "split")},
            recipe=_recipe(str(zoo.column("optimizer")[place]), str(zoo.column("augmentation")[place])),
            labelled=LabelledFeatures(class_features(found), is_trojaned, -1 if row is None else row),
            asr=float(zoo.column("asr")[place]) if is_trojaned else float("nan"),
            seconds=stored["seconds"],
        )


def _digest(sought: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(sought, sort_keys=True).encode()).hexdigest()[:16]


def kinds_of(zoo: Zoo, by: str) -> list[str]:
    """Of which kind each network of a park is, as :class:`Examined` says it.

    Args:
        zoo: The park.
        by: ``dataset``, ``family``, ``recipe`` or ``attack``.
    """
    if by != "recipe":
        return [str(kind) for kind in zoo.column(by)]
    trainings = zip(zoo.column("optimizer"), zoo.column("augmentation"), strict=True)
    return [_recipe(str(optimizer), str(augmentation)) for optimizer, augmentation in trainings]


def _recipe(optimizer: str, augmentation: str) -> str:
    return optimizer if augmentation == "none" else f"{optimizer}, augmented"


def reference_images(images: Images, config: StrangerConfig, seed: int) -> Images:
    """A few images of each class, drawn."""
    generator, labels = np.random.default_rng([seed, 7]), images.required_labels.numpy()
    drawn = [
        generator.permutation(np.flatnonzero(labels == label))[: config.images_per_class] for label in np.unique(labels)
    ]
    return images[torch.from_numpy(np.concatenate(drawn))]


def found_evidence(
    park: ParkEvidence, *, workers: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Examined]:
    """All evidence of a park, sought where it is not there yet.

    Args:
        park: Where it is kept.
        workers: Processes, of one thread each.
        progress: Told how many bases are done, and of how many.

    Raises:
        ZoovetError: The zoo is no park, its images are not there, or what is there was sought otherwise.
    """
    require_writable_folder(park.folder)
    bases = sorted(set(park.zoo.column("base_id").tolist()))
    missing = [base_id for base_id in bases if not park.is_there(base_id)]
    progress(len(bases) - len(missing), len(bases))
    is_alone = workers == 1 or len(missing) < 2
    runner: Runner = Inline(num_threads=None) if is_alone else Processes(workers)
    remedy = "what was sought is kept: run the same again to go on, with fewer workers if memory is short"
    with runner.crew(_Seekers(park, not is_alone)) as crew:
        for done, _ in enumerate(results(crew.outcomes(missing), remedy), start=1):
            progress(len(bases) - len(missing) + done, len(bases))
    return park.rows()


def park_recipe(zoo: Zoo) -> ParkRecipe:
    """The recipe of a park.

    Raises:
        ZoovetError: It is a zoo of another kind, or this version does not know one of its keys.
    """
    recipe = recipe_of(zoo.recipe)
    if not isinstance(recipe, ParkRecipe):
        raise ZoovetError(f"{zoo.path} is a zoo of kind {recipe.kind!r}, but one of kind 'park' is needed")
    return recipe


class ImageSets:
    """The test images of a park's image sets, loaded when first asked for.

    Args:
        park: The park's evidence.

    Raises:
        ZoovetError: It is no park.
    """

    def __init__(self, park: ParkEvidence) -> None:
        recipe = park_recipe(park.zoo)
        self._blocks = {block.name: block for block in recipe.images}
        self._loaded: dict[str, Images] = {}
        self._data_root = park.data_root

    def test(self, name: str) -> Images:
        """All test images of a set."""
        if name not in self._loaded:
            self._loaded[name] = load_image_set(self._blocks[name], 0, self._data_root).test
        return self._loaded[name]


@dataclass(frozen=True)
class _Seekers:
    """What workers seek evidence with; a job is a base."""

    park: ParkEvidence
    are_elsewhere: bool

    def start(self) -> Callable[[int, Tell], None]:
        if self.are_elsewhere:
            torch.set_flush_denormal(True)
        images = ImageSets(self.park)
        return lambda base_id, _: self.park.seek(base_id, images.test)
