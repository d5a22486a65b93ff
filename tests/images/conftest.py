"""Small replicas of the datasets' files, and images to put triggers on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from zoovet.images import Images, datasets


@pytest.fixture(autouse=True)
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root, where nothing outside the test is found."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("ZOOVET_DATA", str(root))
    monkeypatch.setattr(datasets, "SYSTEM_FOLDERS", {})
    return root


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def image_set(generator: np.random.Generator) -> Images:
    """200 images, 20 of each of 10 classes."""
    return Images(
        name="noise",
        pixels=torch.from_numpy(generator.integers(256, size=(200, 1, 12, 10), dtype=np.uint8)),
        labels=torch.arange(200) % 10,
        num_classes=10,
    )


@pytest.fixture
def write_idx() -> Callable[[Path, NDArray[np.uint8]], Path]:
    """Writes an IDX file of bytes: ``write_idx(path, array)``."""

    def write(path: Path, array: NDArray[np.uint8]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        path.write_bytes(head + array.tobytes())
        return path

    return write
