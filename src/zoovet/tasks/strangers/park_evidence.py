"""Evidence of the classes of a park's networks: sought once a network, kept in a folder, and gone on with there.

Each base has a file of its own, whole or absent, so that the work may stop at any moment, and be shared by processes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load, save

from zoovet.errors import ZoovetError
from zoovet.evidence import ClassEvidence, Evidence, class_evidence
from zoovet.evidence.class_features import class_features
from zoovet.files import atomic_path, require_writable_folder
from zoovet.images import Images
from zoovet.jobs import Inline, Processes, Runner, Tell, results
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.tasks.strangers.examined import Examined, LabelledFeatures
from zoovet.zoo import Zoo
from zoovet.zoo.builders import recipe_of
from zoovet.zoo.compiled_runnable import fastest_runnable
from zoovet.zoo.park import ParkRecipe
from zoovet.zoo.park.images import load_image_set

__all__ = ["ImageSets", "ParkEvidence", "found_evidence", "kinds_of", "park_recipe", "reference_images"]

_COLUMNS = ("network_id", "base_id", "evidence", "settings", "examined", "num_classes", "seconds")


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

    @property
    def fingerprint(self) -> str:
        """What evidence depends on beside the network: a hash of the configuration."""
        sought: dict[str, Any] = {
            "images_per_class": self.config.images_per_class,
            "evidence": asdict(self.config.evidence),
        }
        if not self.config.uses_labels:
            sought["uses_labels"] = False
        return hashlib.sha256(json.dumps(sought, sort_keys=True).encode()).hexdigest()[:16]

    def seek(self, base_id: int, images: Callable[[str], Images]) -> None:
        """Seek the evidence of a base's networks, and write its file.

        Args:
            base_id: Which.
            images: From an image set's name to its test images.
        """
        rows = []
        for place in np.flatnonzero(self.zoo.column("base_id") == base_id):
            start = time.process_time()
            network = fastest_runnable(self.zoo.networks([int(place)]))
            pixels = labels = None
            if self.config.images_per_class:
                shown = reference_images(images(str(self.zoo.column("dataset")[place])), self.config, base_id)
                pixels, labels = shown.pixels, shown.required_labels if self.config.uses_labels else None
            found = class_evidence(network, pixels, labels, self.config.evidence)
            tensors = {name: values.half().contiguous() for name, values in found.evidence.classes.items()}
            rows.append(
                {
                    "network_id": str(self.zoo.column("network_id")[place]),
                    "base_id": base_id,
                    "evidence": save(tensors),
                    "settings": json.dumps(found.settings),
                    "examined": found.examined.tolist(),
                    "num_classes": found.num_classes,
                    "seconds": time.process_time() - start,
                }
            )
        table = pa.Table.from_pylist(rows).replace_schema_metadata({"zoovet_evidence": self.fingerprint})
        with atomic_path(self.file_of(base_id)) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def is_there(self, base_id: int) -> bool:
        """Whether a base's evidence is there, and is what is sought.

        Raises:
            ZoovetError: It was sought otherwise.
        """
        path = self.file_of(base_id)
        if not path.exists():
            return False
        with _whole(path):
            metadata = pq.read_schema(path).metadata or {}
        if metadata.get(b"zoovet_evidence", b"").decode() != self.fingerprint:
            raise ZoovetError(
                f"{path} holds evidence that was sought otherwise (another evidence or images_per_class); give "
                f"another folder, or remove this one"
            )
        return True

    def rows(self) -> list[Examined]:
        """What is there, a row a network of the park, in its order."""
        stored: dict[str, dict[str, Any]] = {}
        for base_id in sorted(set(self.zoo.column("base_id").tolist())):
            if self.is_there(base_id):
                with _whole(self.file_of(base_id)):
                    found = pq.read_table(self.file_of(base_id), columns=list(_COLUMNS)).to_pylist()
                stored |= {row["network_id"]: row for row in found}
        names = self.zoo.column("network_id")
        return [self._row(place, stored[names[place]]) for place in range(len(names)) if names[place] in stored]

    def _row(self, place: int, stored: dict[str, Any]) -> Examined:
        zoo = self.zoo
        classes = {name: tensor.float() for name, tensor in load(stored["evidence"]).items()}
        examined = torch.tensor(stored["examined"])
        found = ClassEvidence(
            Evidence(classes=classes), {}, json.loads(stored["settings"]), examined, stored["num_classes"]
        )
        is_trojaned = bool(zoo.column("poisoned")[place])
        row = found.row_of(int(zoo.column("target")[place])) if is_trojaned else None
        target = -1 if row is None else row
        return Examined(
            network_id=stored["network_id"],
            base_id=stored["base_id"],
            **{name: str(zoo.column(name)[place]) for name in ("dataset", "family", "attack", "split")},
            recipe=_recipe(str(zoo.column("optimizer")[place]), str(zoo.column("augmentation")[place])),
            labelled=LabelledFeatures(class_features(found), is_trojaned, target),
            asr=float(zoo.column("asr")[place]) if is_trojaned else float("nan"),
            seconds=stored["seconds"],
        )


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Raise a :class:`ZoovetError` where a file of evidence cannot be read."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ZoovetError(f"{path} is damaged; remove it, and the same command seeks it again") from error


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
