"""Splits of published INRs as JSON: from split to paths, with labels beside them or without."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError, nearest
from zoovet.json_files import read_json_object

__all__ = ["SplitEntry", "read_splits"]

_NAMES = {"train": "train", "val": "validation", "test": "test"}
"""Our name of each split by its name in the file."""

_MAX_BYTES = 64 << 20
"""What a split file may weigh: several hundred thousand paths."""


@dataclass(frozen=True, slots=True)
class SplitEntry:
    """One network of a split file.

    Attributes:
        path: Its last components, as many as count.
        split: ``train``, ``validation`` or ``test``.
        label: As the file gives it; ``None`` where it gives none.
    """

    path: str
    split: str
    label: int | None


def read_splits(path: Path, num_components: int) -> list[SplitEntry]:
    """Read a split file: split → list of paths, or split → {"path": list, "label": list}.

    Args:
        path: The file.
        num_components: How many of each path's last components count; what is before them is where the dataset lay
            when the file was written.

    Raises:
        ZoovetError: It is no such JSON, a split lacks labels for some of its paths, or a network is there twice.
    """
    entries: list[SplitEntry] = []
    for name, content in _read(path).items():
        if name not in _NAMES:
            raise ZoovetError(f"{path}: the split {name!r} is unknown{nearest(name, _NAMES)}")
        paths = content.get("path") if isinstance(content, dict) else content
        if not isinstance(paths, list) or not all(isinstance(item, str) for item in paths):
            raise ZoovetError(f'{path}: {name!r} must be a list of paths, or {{"path": list, "label": list}}')
        labels = content.get("label") if isinstance(content, dict) else [None] * len(paths)
        if not isinstance(labels, list) or len(labels) != len(paths):
            found = len(labels) if isinstance(labels, list) else "no"
            raise ZoovetError(f"{path}: {name!r} has {len(paths)} paths and {found} labels; every path needs its label")
        for item, label in zip(paths, labels, strict=True):
            last = "/".join(item.split("/")[-num_components:])
            entries.append(SplitEntry(last, _NAMES[name], _label(label, item, path)))
    _require_disjoint(entries, path)
    return entries


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path, _MAX_BYTES, missing=f"{path} cannot be read: there is no such file")
    except ZoovetError as error:
        raise ZoovetError(f"the split file {error}") from None


def _label(label: Any, item: str, path: Path) -> int | None:
    """A label, which the released script writes as text."""
    if label is None or (isinstance(label, int) and not isinstance(label, bool)):
        return label
    if isinstance(label, str) and label.isdecimal():
        return int(label)
    raise ZoovetError(f"{path}: the label of {item} is {label!r}, which is no class")


def _require_disjoint(entries: list[SplitEntry], path: Path) -> None:
    first: dict[str, SplitEntry] = {}
    for entry in entries:
        other = first.setdefault(entry.path, entry)
        if other is not entry:
            where = (
                f"twice in {entry.split}" if other.split == entry.split else f"in {other.split} and in {entry.split}"
            )
            raise ZoovetError(f"{path}: the splits overlap: {entry.path} is {where}; a network is in one split, once")
