"""MNIST INRs (Navon et al. 2023, "Equivariant Architectures for Learning in Deep Weight Spaces")."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.zoo.importers.published import ImportOptions, MissingPartError, file_of, size_remark
from zoovet.zoo.importers.siren_networks import NUM_CLASSES, SirenFile, SirenNetworks, published_sirens
from zoovet.zoo.importers.splits_json import read_splits

__all__ = ["open_mnist_inr"]

_NAME = "mnist-inr"
_FOLDER = "mnist-inrs"
_PREFIX = "mnist_png_"
_PATTERN = re.compile(rf"{_PREFIX}(training|testing)_(\d+)_(\d+)", flags=re.ASCII)
_FILE = "checkpoints/model_final.pth"
_SPLITS = "mnist_splits.json"
_NUM_TRAINING, _NUM_TESTING, _NUM_VALIDATION = 60_000, 10_000, 5_000


def open_mnist_inr(folder: Path, options: ImportOptions) -> SirenNetworks:
    """List the networks of the MNIST INRs.

    The splits are those of ``options.split_file``, else of ``mnist_splits.json`` in the folder, which the released
    script writes; what they do not list is left out. Where there is neither, as many of the training networks validate
    as are 5,000 of 60,000, drawn by ``options.seed``, and the testing networks are the test set.

    Args:
        folder: Holds ``mnist_png_{training,testing}_{label}_{image}/checkpoints/model_final.pth``, or
            ``mnist-inrs`` with them.
        options: ``split_file`` and ``seed``.

    Raises:
        ZoovetError: A folder has no network or a name without label or image, or the splits do not fit.
    """
    root = folder / _FOLDER if (folder / _FOLDER).is_dir() else folder
    found = _find(root)
    remarks: tuple[str, ...] = (size_remark(len(found), _NUM_TRAINING + _NUM_TESTING, "networks"),)
    default = root / _SPLITS
    split_file = options.split_file or (default if default.is_file() else None)
    split: dict[str, Any]
    if split_file is None:
        files = _with_validation(found, options.seed)
        split = {"protocol": "5,000 of 60,000 training images validate", "seed": options.seed}
    else:
        files = _as_listed(found, split_file, root)
        split = {"protocol": "listed", "file_sha256": hashlib.sha256(split_file.read_bytes()).hexdigest()}
        if len(files) < len(found):
            remarks += (f"{len(found) - len(files):,} networks are in no split of {split_file} and were left out",)
    return published_sirens(_NAME, root, files, dataset="mnist", image_shape=(1, 28, 28), split=split, remarks=remarks)


def _find(root: Path) -> dict[str, SirenFile]:
    """Every network's file by the name of its folder; training images are in ``train``."""
    if not root.is_dir():
        raise MissingPartError(f"{root} does not exist or is no folder; give the folder of the MNIST INRs")
    found: dict[str, SirenFile] = {}
    for name in sorted(path.name for path in root.iterdir() if path.name.startswith(_PREFIX)):
        match = _PATTERN.fullmatch(name)
        if match is None or int(match[2]) >= NUM_CLASSES:
            raise ZoovetError(
                f"{root / name}: the label from 0 to {NUM_CLASSES - 1} is missing in the folder's name; expected is "
                f"{_PREFIX}training_5_0: training or testing, label, image"
            )
        file_of(root, f"{name}/{_FILE}", _NAME)
        is_test = match[1] == "testing"
        index = int(match[3]) + (_NUM_TRAINING if is_test else 0)
        found[name] = SirenFile(
            source=f"{name}/{_FILE}",
            split="test" if is_test else "train",
            base=index,
            image_index=index,
            label=int(match[2]),
        )
    if not found:
        raise MissingPartError(f"{root} lacks the folders {_PREFIX}training_LABEL_IMAGE of the layout {_NAME}")
    return found


def _with_validation(found: dict[str, SirenFile], seed: int) -> list[SirenFile]:
    """Some training networks moved into validation, drawn."""
    training = sorted((file for file in found.values() if file.split == "train"), key=lambda file: file.base)
    num_validation = round(len(training) * _NUM_VALIDATION / _NUM_TRAINING)
    drawn = np.random.default_rng(seed).permutation(len(training))[:num_validation]
    chosen = {training[place].source for place in drawn}
    return [replace(file, split="validation") if file.source in chosen else file for file in found.values()]


def _as_listed(found: dict[str, SirenFile], split_file: Path, root: Path) -> list[SirenFile]:
    """The networks that a split file lists, in its splits."""
    files = []
    for entry in read_splits(split_file, num_components=3):
        name = entry.path.split("/")[0]
        file = found.get(name)
        if file is None or file.source != entry.path:
            raise MissingPartError(f"{root} lacks the file {entry.path}, which {split_file} puts into {entry.split}")
        if entry.label != file.label:
            raise ZoovetError(
                f"{split_file}: the label of {entry.path} is {'missing' if entry.label is None else entry.label}, its "
                f"folder's name says {file.label}"
            )
        if (file.split == "test") != (entry.split == "test"):
            raise ZoovetError(
                f"{split_file} puts {entry.path} into {entry.split}: networks of MNIST's testing images are the test "
                f"set, those of its training images train and validate"
            )
        files.append(replace(file, split=entry.split))
    return files
