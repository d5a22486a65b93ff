"""CIFAR-10 INRs (Zhou et al. 2023, "Permutation Equivariant Neural Functionals"), with augmented copies."""

from __future__ import annotations

import re
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.zoo.importers.published import ImportOptions, MissingPartError, size_remark
from zoovet.zoo.importers.siren_networks import SirenFile, SirenNetworks, published_sirens

__all__ = ["open_cifar_inr"]

_NAME = "cifar-inr"
_FOLDER = "siren_cifar_wts"
_FOLDERS = re.compile(r"randinit_smaller_(?:aug(\d+)_)?(\d)s", flags=re.ASCII)
_FILES = re.compile(r"net(\d+)\.pth", flags=re.ASCII)
_FIRST_VALIDATION, _FIRST_TEST, _NUM_IMAGES = 45_000, 50_000, 60_000


def open_cifar_inr(folder: Path, options: ImportOptions) -> SirenNetworks:
    """List the networks of the CIFAR-10 INRs.

    Indices below 45,000 train, below 50,000 validate, the others test. Augmented copies of validation and test images
    are left out: the protocol trains on copies and measures on originals.

    Args:
        folder: Holds ``randinit_smaller_{label}s/net{index}.pth`` and ``randinit_smaller_aug{k}_{label}s/…``, or
            ``siren_cifar_wts`` with them.
        options: ``copies``: those with k below it are taken.

    Raises:
        ZoovetError: There are no networks, an index is there twice, or a copy has no original of its label.
    """
    root = folder / _FOLDER if (folder / _FOLDER).is_dir() else folder
    files = _find(root, options.copies)
    labels = {file.base: file.label for file in files if file.copy == 0}
    for file in files:
        if labels.get(file.base) != file.label:
            raise ZoovetError(
                f"{root / file.source} is a copy of image {file.base}, but there is no original "
                f"randinit_smaller_{file.label}s/net{file.base}.pth"
            )
    kept = [file for file in files if file.copy == 0 or file.split == "train"]
    remarks = [size_remark(len(labels), _NUM_IMAGES, "originals"), f"{len(kept) - len(labels):,} augmented copies"]
    if len(kept) < len(files):
        remarks.append(f"{len(files) - len(kept):,} copies of validation and test images were left out")
    return published_sirens(
        _NAME,
        root,
        kept,
        dataset="cifar10",
        image_shape=(3, 32, 32),
        split={"protocol": "by index", "first_validation": _FIRST_VALIDATION, "first_test": _FIRST_TEST},
        remarks=tuple(remarks),
    )


def _find(root: Path, copies: int | None) -> list[SirenFile]:
    """Every network's file, originals and copies."""
    if not root.is_dir():
        raise MissingPartError(f"{root} does not exist or is no folder; give the folder of the CIFAR-10 INRs")
    folders = sorted((path.name, match) for path in root.iterdir() if (match := _FOLDERS.fullmatch(path.name)))
    if not any(match[1] is None for _, match in folders):
        raise MissingPartError(f"{root} lacks the folders randinit_smaller_0s to …_9s of the layout {_NAME}")
    files = []
    for name, match in folders:
        copy = 0 if match[1] is None else int(match[1]) + 1
        if copies is not None and copy > copies:
            continue
        for path in (root / name).iterdir():
            if (number := _FILES.fullmatch(path.name)) is not None:
                files.append(_file(f"{name}/{path.name}", int(number[1]), int(match[2]), copy))
    return files


def _file(source: str, index: int, label: int, copy: int) -> SirenFile:
    split = "train" if index < _FIRST_VALIDATION else "validation" if index < _FIRST_TEST else "test"
    return SirenFile(source, split, base=index, image_index=index, label=label, copy=copy)
