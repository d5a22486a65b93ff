"""Endings of the names of weight files: which of them say the same format."""

from __future__ import annotations

from pathlib import Path

__all__ = ["end_alike"]

_OF_ONE_FORMAT = ((".pt", ".pth", ".tar", ".th", ".bin", ".ckpt"), (".h5", ".hdf5"))


def end_alike(one: Path, other: Path) -> bool:
    """Whether two names say the same format: by the same ending, or both by one of torch.save's, or of HDF5's."""
    endings = {one.suffix.lower(), other.suffix.lower()}
    return len(endings) == 1 or any(endings <= set(same) for same in _OF_ONE_FORMAT)
