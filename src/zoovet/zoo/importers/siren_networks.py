"""SIRENs in PyTorch files, one a network: what the layouts of published INRs share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, siren
from zoovet.readers.formats import read_content
from zoovet.readers.state_dicts import read_state_dicts
from zoovet.zoo.importers.published import published_recipe

__all__ = ["IMAGE_SPLITS", "NUM_CLASSES", "SirenFile", "SirenNetworks", "published_sirens"]

NUM_CLASSES = 10
IMAGE_SPLITS = ["train", "test"]
"""Splits of the image dataset that ``image_index`` counts through, one after the other, as in zoos built here."""

_SPEC_ID = "siren"
_W0 = 30.0
_LABEL = "label"


@dataclass(frozen=True, slots=True)
class SirenFile:
    """One network's file.

    Attributes:
        source: Path in the dataset's folder.
        split: ``train``, ``validation`` or ``test``.
        base: Number of the image, the same for every copy.
        image_index: Index of the image in the image dataset's training and test images, joined; ``None`` where the
            file does not say it.
        label: The image's class; ``None`` where the weight file holds it.
        copy: Which of the image's augmented copies; 0 for the image itself.
    """

    source: str
    split: str
    base: int
    image_index: int | None
    label: int | None
    copy: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class SirenNetworks:
    """A :class:`zoovet.zoo.importers.published.PublishedZoo` of SIRENs.

    Attributes:
        folder: Where the files lie.
        graphs: The one graph.
        recipe: What ``zoo.json`` keeps.
        remarks: What people should know.
        facts: Every column of our format but the weights; labels are null where the weight files hold them.
    """

    folder: Path
    graphs: dict[str, Graph]
    recipe: dict[str, Any]
    remarks: tuple[str, ...]
    facts: pa.Table

    @property
    def num_networks(self) -> int:
        """Networks in it."""
        return len(self.facts)

    def rows(self, first: int, last: int) -> list[dict[str, Any]]:
        """The networks at places first … last - 1, read file by file."""
        rows: list[dict[str, Any]] = self.facts.slice(first, last - first).to_pylist()
        for row in rows:
            path = self.folder / row["source"]
            row["weights"], label = _read_siren(path, self.graphs[_SPEC_ID])
            row["label"] = _valid_label(label, path) if row["label"] is None else row["label"]
        return rows


def published_sirens(
    layout: str,
    folder: Path,
    files: Iterable[SirenFile],
    *,
    dataset: str,
    image_shape: tuple[int, int, int],
    split: dict[str, Any],
    remarks: tuple[str, ...] = (),
) -> SirenNetworks:
    """The networks of a layout, in the order of copy and image.

    Args:
        layout: The layout's name on the command line.
        folder: Where the files lie.
        files: The networks' files.
        dataset: Our name of the image dataset.
        image_shape: (channels, height, width) of its images; the SIREN is 2-32-32-channels with w0 = 30.
        split: How the splits were made.
        remarks: What people should know.

    Raises:
        ZoovetError: There are no files, two are SIRENs of one image and copy, or copies of an image are in two splits.
    """
    ordered = sorted(files, key=lambda file: (file.copy, file.base, file.source))
    if not ordered:
        raise ZoovetError(f"{folder} holds no networks of the layout {layout}")
    _check_images(ordered, folder)
    sources = [file.source for file in ordered]
    channels, *grid = image_shape
    facts: dict[str, Any] = {
        "network_id": [f"{file.base:05d}-{file.copy}" for file in ordered],
        "base_id": [file.base for file in ordered],
        "spec_id": pa.repeat(_SPEC_ID, len(ordered)),
        "split": [file.split for file in ordered],
        "dataset": pa.repeat(dataset, len(ordered)),
        "source": sources,
        "image_index": pa.array([file.image_index for file in ordered], pa.int64()),
        "copy": [file.copy for file in ordered],
        "label": pa.array([file.label for file in ordered], pa.int64()),
        "activation": pa.repeat("sine", len(ordered)),
    }
    digest = hashlib.sha256("\n".join(sources).encode()).hexdigest()
    return SirenNetworks(
        folder=folder,
        graphs={_SPEC_ID: siren((2, 32, 32, channels), _W0)},
        recipe=published_recipe(
            layout, dataset, (grid[0], grid[1]), digest, split, channels=channels, w0=_W0, image_splits=IMAGE_SPLITS
        ),
        remarks=remarks,
        facts=pa.table(facts),
    )


def _check_images(ordered: list[SirenFile], folder: Path) -> None:
    """Refuse two networks of one image and copy, and copies of one image in two splits."""
    seen: dict[tuple[int, int], SirenFile] = {}
    of_base: dict[int, SirenFile] = {}
    for file in ordered:
        other = seen.setdefault((file.base, file.copy), file)
        if other is not file:
            raise ZoovetError(f"{folder}: {other.source} and {file.source} are networks of one image")
        original = of_base.setdefault(file.base, file)
        if original.split != file.split:
            raise ZoovetError(
                f"{folder}: the splits overlap: {original.source} is in {original.split}, {file.source}, of the same "
                f"image, in {file.split}"
            )


def _read_siren(path: Path, graph: Graph) -> tuple[NDArray[np.float32], float | None]:
    """A network's flat weights [P], and its label where the file has one."""
    content = read_content(path)
    tensors = dict(content.tensors)
    label = content.numbers.get(_LABEL)
    if (tensor := tensors.pop(_LABEL, None)) is not None:
        label = float(tensor) if tensor.numel() == 1 else None
    networks = read_state_dicts(replace(content, tensors=tensors), graph, str(path)).networks
    return networks.flat()[0].float().numpy(), label


def _valid_label(label: float | None, path: Path) -> int:
    if label is None or label not in range(NUM_CLASSES):
        found = "no key 'label' with one number" if label is None else f"the label {label:g}"
        raise ZoovetError(f"{path} has {found}; expected is 'label', the image's class from 0 to {NUM_CLASSES - 1}")
    return int(label)
