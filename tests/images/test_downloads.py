from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.images import downloads, load_dataset
from zoovet.images.downloads import REMOTE_FILES, RemoteFile

NAMES = tuple(file.name for file in REMOTE_FILES["mnist"])


class _QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder; a file ``NAME.elsewhere`` holds where NAME is to be had."""

    def do_GET(self) -> None:
        elsewhere = Path(f"{self.translate_path(self.path)}.elsewhere")
        if not elsewhere.exists():
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", elsewhere.read_text())
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def remote(tmp_path: Path, write_idx, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server on this machine that has a tiny MNIST; yields its folder."""
    folder = tmp_path / "remote"
    for name in NAMES:
        shape = (4, 6, 6) if "images" in name else (4,)
        write_idx(folder / name, np.ones(shape, dtype=np.uint8))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        files = tuple(
            RemoteFile(address, name, hashlib.sha256((folder / name).read_bytes()).hexdigest()) for name in NAMES
        )
        monkeypatch.setitem(REMOTE_FILES, "mnist", files)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(downloads, "_SCHEME", "http")  # there is no certificate for this machine
        yield folder
        server.shutdown()
        thread.join()


def test_missing_dataset_is_downloaded_once(remote: Path, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(load_dataset("mnist", "train")) == 4
    assert sorted(path.name for path in (data_root / "mnist").iterdir()) == sorted(NAMES)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "100%" in captured.err  # the progress bar
    for name in NAMES:
        (remote / name).unlink()
    assert len(load_dataset("mnist", "test")) == 4


def test_file_with_another_checksum_is_refused_and_not_kept(remote: Path, data_root: Path) -> None:
    (remote / NAMES[0]).write_bytes(b"<html>moved</html>")
    with pytest.raises(ZoovetError, match=r"train-images-idx3-ubyte\.gz could not be downloaded: SHA256 hash of"):
        load_dataset("mnist", "train")
    assert list((data_root / "mnist").iterdir()) == []


@pytest.mark.parametrize("elsewhere", ["ftp://127.0.0.1/a.gz", "//127.0.0.1:1/a.gz", "https://127.0.0.1:1/a.gz"])
def test_a_redirect_to_another_scheme_is_not_followed(remote: Path, data_root: Path, elsewhere: str) -> None:
    (remote / f"{NAMES[0]}.elsewhere").write_text(elsewhere)
    same_scheme = elsewhere.startswith("//")
    message = "Connection refused" if same_scheme else f"{elsewhere} is no http address"
    with pytest.raises(ZoovetError, match=f"could not be downloaded: .*{message}"):
        load_dataset("mnist", "train")
    assert list((data_root / "mnist").iterdir()) == []


def test_a_redirect_is_followed(remote: Path, data_root: Path) -> None:
    (remote / NAMES[0]).rename(remote / "moved.gz")
    (remote / f"{NAMES[0]}.elsewhere").write_text("/moved.gz")
    assert len(load_dataset("mnist", "train")) == 4


def test_what_is_too_large_is_broken_off(remote: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(downloads._MAX_BYTES, "mnist", 1 << 20)
    (remote / NAMES[0]).write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(ZoovetError, match=r"downloaded: it is larger than the 1 MB that the file can be\. To give"):
        load_dataset("mnist", "train")
    assert list((data_root / "mnist").iterdir()) == []


def test_an_address_without_encryption_is_not_asked(
    remote: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_SCHEME", "https")
    with pytest.raises(ZoovetError, match=r"downloaded: http://127\.0\.0\.1:\d+/.*\.gz is no https address"):
        load_dataset("mnist", "train")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_follow_the_umask(remote: Path, data_root: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        load_dataset("mnist", "train")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (data_root / "mnist").iterdir()} == {mode}


def test_unreachable_address_says_where_it_looked_and_what_to_do(data_root: Path, monkeypatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    monkeypatch.setitem(REMOTE_FILES, "mnist", tuple(RemoteFile(address, name, "0" * 64) for name in NAMES))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(downloads, "_SCHEME", "http")
    with pytest.raises(ZoovetError) as caught:
        load_dataset("mnist", "train")
    message = str(caught.value)
    assert f"'mnist' was not found in {data_root / 'mnist'}, {data_root / 'MNIST/raw'}, {data_root}" in message
    assert f"{address}{NAMES[0]} could not be downloaded: " in message
    assert "Connection refused" in message
    assert f"put {', '.join(NAMES)} into {data_root / 'mnist'}" in message
    assert "--data-root or the environment variable ZOOVET_DATA" in message


def test_data_root_that_is_a_file_is_an_error(remote: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZoovetError, match=r"could not be downloaded: .*Not a directory"):
        load_dataset("mnist", "train", data_root=tmp_path / "file")


def test_every_remote_file_has_a_sha256_a_limit_and_an_https_address() -> None:
    assert downloads._MAX_BYTES.keys() == REMOTE_FILES.keys()
    assert all(file.address.startswith("https://") for files in REMOTE_FILES.values() for file in files)
    hashes = [file.sha256 for files in downloads.REMOTE_FILES.values() for file in files]
    assert len(set(hashes)) == len(hashes) == 11
    assert all(len(value) == 64 and set(value) <= set("0123456789abcdef") for value in hashes)
