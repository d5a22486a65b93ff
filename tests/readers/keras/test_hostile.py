"""Keras files that were made to take all memory: refused in a line, by limits or before they are unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import zoovet
from zoovet.errors import ZoovetError

h5py = pytest.importorskip("h5py")


def _zipped(path: Path, weights: bytes, config: str = "{}") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights)
    return path


def test_packed_zeros_do_not_take_all_memory(tmp_path: Path) -> None:
    path = _zipped(tmp_path / "zip.keras", bytes(9 * 2**25))
    with pytest.raises(ZoovetError, match=r"zip\.keras takes more than 2\d\d MB of memory to read"):
        zoovet.read(path)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("zeros", data=np.zeros(20 * 2**20, np.float32), compression="gzip", compression_opts=1)
    with pytest.raises(ZoovetError, match=r"a\.h5 repeats its numbers"):
        zoovet.read(tmp_path / "a.h5")


def test_groups_that_hold_themselves_and_deep_descriptions_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "loop.h5", "w") as file:
        file.create_group("a")["b"] = file["/"]
    with pytest.raises(ZoovetError, match=r"loop\.h5 is nested more than 32 deep, or holds itself$"):
        zoovet.read(tmp_path / "loop.h5")
    path = _zipped(tmp_path / "deep.keras", b"", "[" * 100_000)
    with pytest.raises(ZoovetError, match=r"deep\.keras has a description of its layers that is no JSON"):
        zoovet.read(path)
