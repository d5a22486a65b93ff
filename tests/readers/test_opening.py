from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from zoovet.errors import ZoovetError
from zoovet.readers import read_content


def refusal(path: Path) -> str:
    with pytest.raises(ZoovetError) as caught:
        read_content(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_special_files_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pt")
    assert "fifo.pt cannot be read: it is a named pipe, not a file" in refusal(tmp_path / "fifo.pt")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    assert "zero.pt cannot be read: it is a device, not a file" in refusal(tmp_path / "zero.pt")
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    assert "loop.pt cannot be read" in refusal(tmp_path / "loop.pt")
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{short}/s.pt")
        assert "s.pt cannot be read: it is a socket, not a file" in refusal(Path(short) / "s.pt")


def test_names_that_no_file_has(tmp_path: Path) -> None:
    assert r"a\x00b.pt does not exist: a file cannot have this name" in refusal(tmp_path / "a\0b.pt")
    assert r"\ud800.pt does not exist" in refusal(tmp_path / "\ud800.pt")
    assert "cannot be read: File name too long" in refusal(tmp_path / f"{'n' * 300}.pt")
    assert r"caf\udce9\x1b[2J.pt does not exist" in refusal(tmp_path / os.fsdecode(b"caf\xe9\x1b[2J.pt"))
    assert "cannot be read: Not a directory" in refusal(Path(__file__) / "a.pt")


def test_names_that_are_no_utf8_are_read_and_shown(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9\n[red].pt")
    path.write_bytes(b"<html>")
    assert r"caf\udce9\n[red].pt is a web page (HTML)" in refusal(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_without_rights(tmp_path: Path) -> None:
    (tmp_path / "a.pt").touch(mode=0)
    assert "a.pt cannot be read: Permission denied" in refusal(tmp_path / "a.pt")
    (tmp_path / "closed").mkdir(mode=0)
    assert "closed cannot be read: Permission denied" in refusal(tmp_path / "closed")
    assert "a.pt cannot be read: Permission denied" in refusal(tmp_path / "closed" / "a.pt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("saved_model.pb", "is a TensorFlow SavedModel, which is not read"),
        ("checkpoint", "is a TensorFlow checkpoint, which is not read"),
        ("Manifest.json", "is a Core ML package, which is not read"),
        ("a.pt", "cannot be read: it is a folder; give the weight files in it"),
    ],
)
def test_folders_are_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).touch()
    assert message in refusal(tmp_path)
