from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoovet import ZoovetError
from zoovet.fetching import addresses
from zoovet.fetching.addresses import download, name_of, require_safe, split_digest

NAME = "own/net"


def test_only_https_and_this_machine_are_safe() -> None:
    for url in ("https://example.org/a", "http://127.0.0.1:8/a", "http://localhost/a", "http://[::1]/a"):
        require_safe(url)
    for url in ("http://example.org/a", "http://127.0.0.1.example.org/a", "ftp://127.0.0.1/a", "http:///a"):
        with pytest.raises(ZoovetError, match="is no https address; only these are fetched"):
            require_safe(url)


def test_a_digest_stands_behind_the_address() -> None:
    digest = "ab" * 32
    assert split_digest(f"https://a/b#sha256={digest}") == ("https://a/b", digest)
    assert split_digest("https://a/b") == ("https://a/b", None)
    for odd in ("sha256=ab", f"sha1={digest}", f"sha256={digest.upper()}"):
        with pytest.raises(ZoovetError, match="behind # stands sha256= and 64 hexadecimal digits in lower case"):
            split_digest(f"https://a/b#{odd}")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a/b/net.onnx?x=1", "net.onnx"),
        ("https://a/..%2f..%2fetc", "_.._etc"),
        ("https://a/%2e%2e", "file"),
        ("https://a/a b\x00.pt", "a_b_.pt"),
        ("https://a/", "file"),
    ],
)
def test_names_are_harmless(url: str, name: str) -> None:
    assert name_of(url) == name


def test_what_is_there_is_written_and_how_far_it_is_told(hub: Any, tmp_path: Path) -> None:
    hub.repositories[NAME] = {"a.onnx": b"content"}
    hub.redirects["/from"] = f"{hub.url}/{NAME}/resolve/main/a.onnx"
    told: list[int] = []
    download(f"{hub.url}/from", tmp_path / "a", told.append)
    assert (tmp_path / "a").read_bytes() == b"content"
    assert told == [7]


def test_what_leads_elsewhere_fails_or_is_too_large_leaves_nothing(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories[NAME] = {"a.onnx": b"content"}
    hub.redirects["/away"] = "http://example.org/a.onnx"
    monkeypatch.setattr(addresses, "MAX_BYTES", 6)
    for place, said in (
        ("/away", "http://example.org/a.onnx is no https address"),
        ("/none", "cannot be fetched: 404"),
        (f"/{NAME}/resolve/main/a.onnx", "is larger than the "),
    ):
        with pytest.raises(ZoovetError, match=said):
            download(f"{hub.url}{place}", tmp_path / "a", lambda _: None)
        assert not (tmp_path / "a").exists()
