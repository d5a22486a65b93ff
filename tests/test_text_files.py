from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoovet.errors import ZoovetError
from zoovet.text_files import open_regular, read_text_file


def test_a_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfgr\xc3\xbcn")
    (tmp_path / "link").symlink_to(path)
    assert read_text_file(path) == "grün"
    assert read_text_file(tmp_path / "link") == "grün"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"12345678", r"a\.txt is larger than the 0\.00488281 kB that such a file may weigh"),
        (b"\xff\xfe1", r"a\.txt cannot be read: it is no text in UTF-8 \(byte 0: invalid start byte\)"),
    ],
)
def test_what_is_no_small_text_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(ZoovetError, match=message):
        read_text_file(path, 5)


def test_nothing_is_waited_for_and_the_size_that_a_file_claims_is_not_believed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "a named pipe"), (tmp_path, "a folder"), ("/dev/zero", "a device")):
        with pytest.raises(ZoovetError, match=rf"{path} cannot be read: it is {kind}, not a file$"):
            read_text_file(path)
        with pytest.raises(OSError, match="not a file"):
            open_regular(path)
    sparse = tmp_path / "a.txt"
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ZoovetError, match=r"a\.txt is larger"):
        read_text_file(sparse)


def test_what_is_missing_is_said_in_the_callers_words(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"^there is no file .*a\.txt$"):
        read_text_file(tmp_path / "a.txt")
    (tmp_path / "file").touch()
    with pytest.raises(ZoovetError, match=r"^build one$"):
        read_text_file(tmp_path / "file" / "a.txt", missing="build one")
    with pytest.raises(ZoovetError, match="cannot be read: embedded null byte"):
        read_text_file("a\0b")
    with pytest.raises(ZoovetError, match="cannot be read: File name too long"):
        read_text_file("a" * 5000)


def test_a_name_is_shown_harmless(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError) as caught:
        read_text_file(tmp_path / "a\x1b[2J\n")
    assert str(caught.value).isprintable()


def test_a_device_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(OSError, match="it is a device, not a file"):
        open_regular("/dev/zero")
