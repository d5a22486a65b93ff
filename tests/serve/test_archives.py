"""Zips of images: what is taken, what is refused, where it lands."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from zoovet import ZoovetError
from zoovet.serve.archives import is_safe_relative, safe_name, unpack_images

Zipped = Callable[..., bytes]


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Path]:
    def run(data: bytes, max_files: int = 10, max_bytes: int = 10_000) -> Path:
        (tmp_path / "images.zip").write_bytes(data)
        return unpack_images(tmp_path / "images.zip", tmp_path / "out", max_files=max_files, max_bytes=max_bytes)

    return run


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("suspect.pt", "suspect.pt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\nets\\a b.onnx", "a b.onnx"),
        ("a\x00\n<b>.pt", "a___b_.pt"),
        (".hidden", "_hidden"),
        ("--out", "_out"),
        ("..", "_"),
        ("", "file"),
        ("netz-größe.pt", "netz-größe.pt"),
        ("x" * 300 + ".pt", "x" * 97 + ".pt"),
    ],
)
def test_names_become_names_that_any_disk_takes(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    "path", ["../a.png", "/a.png", "a/../../b.png", "..\\a.png", "\\a.png", "", "/".join("abcdefg")]
)
def test_paths_that_lead_out_or_too_deep_are_told(path: str) -> None:
    assert not is_safe_relative(path)
    assert is_safe_relative("photos/cat/1.png")


def test_class_folders_are_unpacked_and_found_within_a_folder(unpack: Callable[..., Path], zipped: Zipped) -> None:
    files = {"photos/cat/1.png": b"cat", "photos/dog/1.png": b"dog", "__MACOSX/cat/._1.png": b"x", "photos/.x": b"x"}
    root = unpack(zipped(files))
    assert root.name == "photos"
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*.png")) == ["cat/1.png", "dog/1.png"]
    assert (root / "cat/1.png").read_bytes() == b"cat"


def test_one_class_folder_stays_a_class(unpack: Callable[..., Path], zipped: Zipped) -> None:
    assert [path.name for path in unpack(zipped({"cat/1.png": b"cat"})).iterdir()] == ["cat"]


@pytest.mark.parametrize("path", ["../../evil.png", "/evil.png", "..\\evil.png"])
def test_a_path_that_leads_out_is_refused_and_nothing_lands_outside(
    unpack: Callable[..., Path], zipped: Zipped, path: str, tmp_path: Path
) -> None:
    with pytest.raises(ZoovetError, match="leads out of it"):
        unpack(zipped({path: b"evil"}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.zip", "out"]
    assert not list((tmp_path / "out").iterdir())


def test_a_bomb_is_stopped_at_the_limit(unpack: Callable[..., Path], zipped: Zipped, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match="unpacks to more than the 3 MB"):
        unpack(zipped({"cat/1.png": bytes(2 * 2**20), "cat/2.png": bytes(20 * 2**20)}), max_bytes=3 * 2**20)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.png")) <= 3 * 2**20


def test_what_a_zip_says_of_its_sizes_is_not_believed(unpack: Callable[..., Path], zipped: Zipped) -> None:
    data = bytearray(zipped({"cat/1.png": bytes(100_000)}))
    place = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, place + 24, 10)  # its uncompressed size, in the list of members
    with pytest.raises(ZoovetError, match=r"unpack"):
        unpack(bytes(data))


def test_too_many_members_and_too_long_a_list_are_refused(
    unpack: Callable[..., Path], zipped: Zipped, tmp_path: Path
) -> None:
    with pytest.raises(ZoovetError, match="has 11 files, at most 10"):
        unpack(zipped({f"cat/{index}.png": b"" for index in range(11)}))
    data = bytearray(zipped({"cat/1.png": b"cat"}))
    struct.pack_into("<I", data, len(data) - 10, 2**30)
    (tmp_path / "out").rmdir()
    with pytest.raises(ZoovetError, match="larger than any zip of reference images"):
        unpack(bytes(data))


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x05\x06"])
def test_what_is_no_zip_is_refused(unpack: Callable[..., Path], data: bytes) -> None:
    with pytest.raises(ZoovetError, match="is no zip, or is cut off"):
        unpack(data)


def test_a_damaged_or_encrypted_member_is_one_line(unpack: Callable[..., Path], zipped: Zipped, tmp_path: Path) -> None:
    data = bytearray(zipped({"cat/1.png": b"cat" * 100}, zipfile.ZIP_STORED))
    data[60] ^= 255
    with pytest.raises(ZoovetError, match=r"images\.zip cannot be unpacked: .*CRC"):
        unpack(bytes(data))
    (tmp_path / "out" / "cat" / "1.png").unlink()
    (tmp_path / "out" / "cat").rmdir()
    (tmp_path / "out").rmdir()
    data = bytearray(zipped({"cat/1.png": b"cat"}))
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ZoovetError, match="is encrypted"):
        unpack(bytes(data))
