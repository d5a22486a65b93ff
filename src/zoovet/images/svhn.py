"""SVHN's cropped digits (Netzer et al. 2011): the official MATLAB files ``train_32x32.mat`` and ``test_32x32.mat``."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.images.downloads import REMOTE_FILES

__all__ = ["find_svhn"]

ImagesAndLabels = tuple[NDArray[np.uint8], NDArray[np.integer]]

_NUM_CLASSES = 10


def find_svhn(folder: Path, split: Literal["train", "test"]) -> Callable[[], ImagesAndLabels] | None:
    """Look for a split of SVHN's cropped digits in a folder.

    Returns:
        A function that reads images uint8 [N, 3, 32, 32] and labels [N], 0 … 9, and raises ZoovetError, naming the
        file, where it is not the official one; or None where the split is not in the folder.
    """
    path = folder / f"{split}_32x32.mat"
    return partial(_read, path) if path.is_file() else None


def _read(path: Path) -> ImagesAndLabels:
    """Read an official file: MATLAB version 5, ``X`` uint8 [32, 32, 3, N] and ``y`` [N, 1] with 10 for the digit 0.

    Nothing in such a file is ever executed, but scipy's reader may crash on a damaged one. So bytes with another
    checksum than the official files' are not given to it.
    """
    from scipy.io import loadmat  # takes a while to import, and few need it

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ZoovetError(f"{path} cannot be read: {error}") from error
    wanted = next(remote.sha256 for remote in REMOTE_FILES["svhn"] if remote.name == path.name)
    actual = hashlib.sha256(data).hexdigest()
    if actual != wanted:
        raise ZoovetError(
            f"{path} is damaged or not SVHN's official {path.name}: expected SHA-256 {wanted}, got {actual} "
            f"({len(data)} bytes); delete it to have it downloaded again"
        )
    arrays = loadmat(io.BytesIO(data), variable_names=("X", "y"))
    return arrays["X"].transpose(3, 2, 0, 1), arrays["y"].reshape(-1).astype(np.int64) % _NUM_CLASSES
