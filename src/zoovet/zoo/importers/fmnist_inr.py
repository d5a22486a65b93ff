"""Fashion-MNIST INRs (Navon et al. 2023, "Equivariant Architectures for Learning in Deep Weight Spaces")."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.zoo.importers.published import ImportOptions, MissingPartError, file_of, size_remark
from zoovet.zoo.importers.siren_networks import SirenFile, SirenNetworks, published_sirens
from zoovet.zoo.importers.splits_json import SplitEntry, read_splits

__all__ = ["open_fmnist_inr"]

_NAME = "fmnist-inr"
_FOLDER = "fmnist_inrs"
_SPLITS = "splits.json"
_NUM_TRAINING, _NUM_TESTING = 60_000, 10_000
_PATTERN = re.compile(r"(train|test)/model_(\d+)\.pth", flags=re.ASCII)


def open_fmnist_inr(folder: Path, options: ImportOptions) -> SirenNetworks:
    """List the networks of the Fashion-MNIST INRs.

    Args:
        folder: Holds ``splits.json`` (split → list of paths, of which the last two components count) and the files it
            names, each a state dict with the image's class as ``label``; or ``fmnist_inrs`` with them.
        options: ``split_file`` in place of ``splits.json``.

    Raises:
        ZoovetError: ``splits.json`` is missing or damaged, its splits overlap, or a file that it names is missing.
    """
    root = folder / _FOLDER if (folder / _FOLDER).is_dir() else folder
    split_file = options.split_file or file_of(root, _SPLITS, _NAME)
    entries = sorted(read_splits(split_file, num_components=2), key=lambda entry: entry.path)
    if not entries:
        raise ZoovetError(f"{split_file} lists no networks")
    missing = next((entry.path for entry in entries if not (root / entry.path).is_file()), None)
    if missing is not None:
        raise MissingPartError(f"{root} lacks the file {missing}, which {split_file} lists")
    return published_sirens(
        _NAME,
        root,
        _files(entries),
        dataset="fashion-mnist",
        image_shape=(1, 28, 28),
        split={"protocol": "listed", "file_sha256": hashlib.sha256(split_file.read_bytes()).hexdigest()},
        remarks=(size_remark(len(entries), _NUM_TRAINING + _NUM_TESTING, "networks"),),
    )


def _files(entries: list[SplitEntry]) -> list[SirenFile]:
    """The networks; their images are known where all files are named as published, else just numbered."""
    matches = [_PATTERN.fullmatch(entry.path) for entry in entries]
    known = [int(match[2]) + (_NUM_TRAINING if match[1] == "test" else 0) for match in matches if match]
    indices: list[int] | list[None] = known if len(known) == len(entries) else [None] * len(entries)
    return [
        SirenFile(entry.path, entry.split, base=place if index is None else index, image_index=index, label=None)
        for place, (entry, index) in enumerate(zip(entries, indices, strict=True))
    ]
