"""With fsspec's memory in the place of the bucket: what of it is fetched, and what is said."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from zoovet import ZoovetError
from zoovet.fetching.buckets import in_bucket


class Bucket(MemoryFileSystem):
    """A store of its own."""

    protocol = "s3"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setitem(import_module("fsspec.registry")._registry, "s3", Bucket)
    system = Bucket(skip_instance_cache=True)
    Bucket.store.clear()
    for name in ("nets/a.onnx", "nets/deep/b.safetensors", "nets/notes.md", "other.pt"):
        system.pipe_file(f"/bucket/{name}", name.encode())
    return system


def test_a_file_or_all_below_an_address_is_fetched(bucket: Bucket, tmp_path: Path) -> None:
    (file,) = in_bucket("s3://bucket/other.pt", tmp_path / "one").files
    assert (file.name, file.path.read_bytes()) == ("s3://bucket/other.pt", b"other.pt")
    found = in_bucket("s3://bucket/nets/", tmp_path / "all")
    assert [(file.name, file.path.read_bytes()) for file in found.files] == [
        ("s3://bucket/nets/a.onnx", b"nets/a.onnx"),
        ("s3://bucket/nets/deep/b.safetensors", b"nets/deep/b.safetensors"),
    ]
    (skipped,) = found.skipped
    assert (skipped.name, skipped.reason) == (
        "s3://bucket/nets",
        "1 file whose name is no weight file's: 1 .md",
    )
    assert all(file.path.is_relative_to(tmp_path / "all") for file in found.files)


def test_what_is_not_there_or_not_installed_is_one_line(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match="s3://bucket/none holds no weight file, of 0 files"):
        in_bucket("s3://bucket/none", tmp_path)
    with pytest.raises(ZoovetError, match="gs://bucket/a needs the package gcsfs: pip install gcsfs"):
        in_bucket("gs://bucket/a", tmp_path)
