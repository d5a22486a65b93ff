"""What an importer makes of a published dataset, and what can be asked of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks

__all__ = [
    "IMPORTED",
    "UNKNOWN_IMAGES",
    "ImportOptions",
    "MissingPartError",
    "PublishedZoo",
    "file_of",
    "published_recipe",
    "size_remark",
]

IMPORTED, UNKNOWN_IMAGES = "imported", "unknown"
"""The kind of an imported zoo's recipe, and what its ``dataset`` is where nobody said it."""


class MissingPartError(ZoovetError):
    """A file or folder of the layout is not there."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How to import; which layout takes which of these, its entry in ``LAYOUTS`` says.

    Attributes:
        split_file: File that says which network is in which split; ``None`` for the layout's default.
        seed: Of the split, where one is drawn.
        copies: Augmented copies of each image's SIREN to take, at most; ``None`` for all that are there.
        table: Table of what is known of the networks.
        columns: Our names of the table's columns and its own, where they are others than usual.
        dataset: Name of the images that the networks were trained on.
        read: Reads a network's file, as ``lambda path: zoovet.read(path, architecture="resnet20:image=32").networks``.
    """

    split_file: Path | None = None
    seed: int = 0
    copies: int | None = None
    table: Path | str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    dataset: str | None = None
    read: Callable[[Path], Networks] | None = None


class PublishedZoo(Protocol):
    """A published dataset whose tables are read and checked, and whose weights are read when they are asked for."""

    @property
    def graphs(self) -> dict[str, Graph]:
        """Graphs of its networks by their ``spec_id``."""

    @property
    def recipe(self) -> dict[str, Any]:
        """What ``zoo.json`` keeps: where the zoo comes from, its image dataset and grid."""

    @property
    def facts(self) -> pa.Table:
        """Every column of our format but the weights, a row a network, ``base_id`` and ``network_id`` at least."""

    @property
    def num_networks(self) -> int:
        """Networks in it."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What people should know about this copy of the dataset, a phrase each."""

    def rows(self, first: int, last: int) -> list[dict[str, Any]]:
        """The networks at places first … last - 1 as :func:`zoovet.zoo.shards.write_shard` takes them.

        Raises:
            ZoovetError: Weights are missing, damaged, of a wrong shape, or not finite; the message names the network.
        """


def published_recipe(
    layout: str, dataset: str, grid: tuple[int, int], source: str, split: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """The recipe of an imported zoo.

    Args:
        layout: The layout's name on the command line.
        dataset: Name of the image dataset.
        grid: Height and width of its images.
        source: SHA-256 in hexadecimal of the dataset's tables or list of files: another one is another zoo.
        split: How the splits were made.
        more: What only some layouts have.
    """
    fixed = {"kind": IMPORTED, "layout": layout, "dataset": dataset, "image_size": list(grid)}
    return {**fixed, **more, "split": split, "source_sha256": source}


def file_of(folder: Path, name: str, layout: str) -> Path:
    """A file of the layout.

    Raises:
        MissingPartError: It is not there; the message names it.
    """
    path = folder / name
    if not path.is_file():
        what = f"lacks the file {name} of the layout {layout}" if folder.is_dir() else "is no folder"
        raise MissingPartError(f"{folder} {what}")
    return path


def size_remark(num_found: int, num_published: int, what: str) -> str:
    """Say whether a count is the published one."""
    if num_found == num_published:
        return f"{num_found:,} {what}, as published"
    return f"{num_found:,} {what}; the published dataset has {num_published:,}"
