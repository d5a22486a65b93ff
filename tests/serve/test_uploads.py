"""Forms: what is taken in, where it lands, what is refused."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from zoovet import ZoovetError
from zoovet.files import StorageError
from zoovet.serve.uploads import ReceivedForm, TooLarge, receive_form

BOUNDARY = "between"
Part = tuple[str, str | None, bytes]


def body(*parts: Part, ends: bool = True) -> bytes:
    """A form as browsers send it."""
    made = b""
    for name, filename, data in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        made += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
    return made + (f"--{BOUNDARY}--\r\n".encode() if ends else b"")


@pytest.fixture
def receive(tmp_path: Path) -> Callable[..., ReceivedForm]:
    def run(data: bytes, size: int = 7, **limits: Any) -> ReceivedForm:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(data), size):
                yield data[start : start + size]

        kind = limits.pop("kind", f"multipart/form-data; boundary={BOUNDARY}")
        return asyncio.run(receive_form(pieces(), kind, tmp_path, **{"max_bytes": 10_000, "max_files": 5} | limits))

    return run


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_files_and_fields_are_taken_in_whatever_the_pieces(
    receive: Callable[..., ReceivedForm], tmp_path: Path, size: int
) -> None:
    data = bytes(range(256)) + b"\r\n--betwee\r\n--between\n"
    form = receive(
        body(("effort", None, b"quick"), ("file", "a b.pt", data), ("images", "p.ZIP", b"zip"), ("folder", "", b"")),
        size,
    )
    assert form == ReceivedForm(fields={"effort": "quick"}, file="a b.pt", images="images.zip")
    assert (tmp_path / "a b.pt").read_bytes() == data
    assert (tmp_path / "images.zip").read_bytes() == b"zip"


def test_a_folder_keeps_its_classes(receive: Callable[..., ReceivedForm], tmp_path: Path) -> None:
    parts = [("folder", f"photos/{name}", name.encode()) for name in ("cat/1.png", "dog/1.png", ".DS_Store")]
    form = receive(body(("file", "a.pt", b"a"), *parts))
    assert form.images == "images"
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert found == ["a.pt", "images/cat/1.png", "images/dog/1.png"]


def test_a_networks_path_is_only_its_name(receive: Callable[..., ReceivedForm], tmp_path: Path) -> None:
    assert receive(body(("file", "../../../a.pt", b"a"))).file == "a.pt"
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([("folder", "photos/../../a.png", b"a")], "leads out of its folder"),
        ([("folder", "/etc/a.png", b"a")], "leads out of its folder"),
        ([("file", "a.pt", b"a"), ("file", "b.pt", b"b")], "several files of weights"),
        ([("images", "a.zip", b"a"), ("images", "b.zip", b"b")], "reference images once"),
        ([("images", "a.zip", b"a"), ("folder", "p/cat/1.png", b"b")], "reference images once"),
        ([("folder", "p/cat/1.png", b"b"), ("images", "a.zip", b"a")], "reference images once"),
        ([("folder", "p/a", b"a"), ("folder", "p/a/b.png", b"b")], "both as a file and as a folder"),
        ([("folder", "p/a/b.png", b"b"), ("folder", "p/a", b"a")], "both as a file and as a folder"),
        ([("images", "a.tar", b"a")], r"a folder, a \.zip or an \.npz, got a\.tar"),
        ([("weights", "a.pt", b"a")], "has a file 'weights'"),
        ([("x", None, b"x" * 20_000)], "field 'x' is too long"),
        ([(f"x{index}", None, b"") for index in range(50)], "more than 40 fields"),
    ],
)
def test_what_is_odd_is_refused(receive: Callable[..., ReceivedForm], parts: list[Part], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        receive(body(*parts), max_bytes=100_000)


def test_a_disk_that_takes_no_more_is_told(
    receive: Callable[..., ReceivedForm], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("zoovet.serve.uploads.Path.open", full)
    with pytest.raises(StorageError, match="No space left on device"):
        receive(body(("file", "a.pt", b"a")))


def test_whoever_goes_away_leaves_no_traceback(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield body(("file", "a.pt", b"a"), ends=False)
        raise ClientDisconnect

    kind = f"multipart/form-data; boundary={BOUNDARY}"
    with pytest.raises(ZoovetError, match="went away"):
        asyncio.run(receive_form(pieces(), kind, tmp_path, max_bytes=1000, max_files=5))


def test_more_than_is_taken_is_refused_before_it_is_kept(receive: Callable[..., ReceivedForm], tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="were sent"):
        receive(body(("file", "a.pt", bytes(50_000))), 1000)
    assert (tmp_path / "a.pt").stat().st_size <= 10_000
    with pytest.raises(TooLarge, match="more than 5 files"):
        receive(body(*[("folder", f"p/cat/{index}.png", b"") for index in range(6)]))


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"{}", "application/json", "expected is a form, multipart/form-data, got application/json"),
        (b"", "", "got no content type"),
        (b"", "multipart/form-data", "expected is a form"),
        (b"", f"multipart/form-data; boundary={BOUNDARY}", "is cut off"),
        (body(("file", "a.pt", b"a"), ends=False), f"multipart/form-data; boundary={BOUNDARY}", "is cut off"),
        (b"no form at all", f"multipart/form-data; boundary={BOUNDARY}", "is damaged"),
    ],
)
def test_what_is_no_form_is_refused(receive: Callable[..., ReceivedForm], data: bytes, kind: str, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        receive(data, kind=kind)
