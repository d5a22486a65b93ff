from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoovet.fetching import gathered, is_address

NAME = "own/net"


def test_addresses_are_told_from_paths() -> None:
    assert all(map(is_address, ("hf://a/b", "https://a", "s3://a", "zip::s3://a")[:3]))
    assert not any(map(is_address, ("a.pt", "/a/b", "C:/a.pt", "./hf:/a", "a b://c", "")))


def test_paths_folders_and_addresses_come_together_and_one_failure_is_its_own(
    hub: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write("a.pt", "b.md")
    hub.repositories[NAME] = {"model.onnx": b"onnx"}
    address = f"{hub.url}/{NAME}/resolve/main/model.onnx"
    given = ["missing.pt", str(folder), str(folder / "a.pt"), address, f"hf://{NAME}", "hf://own/none", "ftp://a/b"]
    told: list[str] = []
    found = gathered(given, tmp_path / "fetched", offline=False, progress=told.append)
    assert [file.name for file in found.files] == [
        "missing.pt",
        str(folder / "a.pt"),
        address,
        f"hf://{NAME}/model.onnx",
    ]
    assert [name for name, _ in found.failures] == ["hf://own/none", "ftp://a/b"]
    assert "nothing is fetched by ftp://; known: hf://, https://, s3://, gs://, az://" in found.failures[1][1]
    assert told[0] == f"fetching {address}"
    assert [one.name for one in found.skipped] == [str(folder)]


def test_a_folder_with_an_index_is_one_network(write: Callable[..., Path], tmp_path: Path) -> None:
    folder = write("model.safetensors.index.json", "other.pt")
    (file,) = gathered([str(folder)], tmp_path, offline=True).files
    assert file.path == folder


def test_an_address_with_a_digest_gives_that_file_or_none(hub: Any, tmp_path: Path) -> None:
    hub.repositories[NAME] = {"a.onnx": b"onnx"}
    address, digest = f"{hub.url}/{NAME}/resolve/main/a.onnx", hashlib.sha256(b"onnx").hexdigest()
    (file,) = gathered([f"{address}#sha256={digest}"], tmp_path / "1", offline=False).files
    assert (file.name, file.notes, file.path.read_bytes()) == (address, (), b"onnx")
    (file,) = gathered([address], tmp_path / "2", offline=False).files
    assert file.notes == (f"its SHA-256 is {digest}; with #sha256={digest} no other file is taken",)
    ((_, said),) = gathered([f"{address}#sha256={'0' * 64}"], tmp_path / "3", offline=False).failures
    assert f"is another file than was meant: its SHA-256 is {digest}" in said
    assert list((tmp_path / "3").rglob("*.onnx")) == []


def test_offline_nothing_is_asked(hub: Any, tmp_path: Path) -> None:
    given = [f"{hub.url}/a.onnx", "s3://bucket/a.onnx", f"hf://{NAME}"]
    found = gathered(given, tmp_path, offline=True)
    assert (found.files, hub.asked) == ((), [])
    assert [said.rpartition(" ")[2] for _, said in found.failures] == ["set", "set", "offline"]


@pytest.mark.parametrize("address", ["http://example.org/a.onnx", "https://a/b#sha256=x"])
def test_what_is_not_safe_is_not_asked(address: str, tmp_path: Path) -> None:
    assert len(gathered([address], tmp_path, offline=False).failures) == 1
