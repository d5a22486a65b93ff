from __future__ import annotations

from pathlib import Path

import pytest

from zoovet.private_cache import NotPrivateError, is_kept, keep, kept, private_folder


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return private_folder("own")


def test_what_is_kept_is_read_again(folder: Path) -> None:
    assert kept(folder / "a") is None
    keep(b"content", folder / "a")
    assert (kept(folder / "a"), is_kept(folder / "a")) == (b"content", True)
    keep(b"other", folder / "a")
    assert kept(folder / "a") == b"other"
    assert sorted(path.name for path in folder.iterdir()) == ["a", "a.sha256"]


@pytest.mark.parametrize("name", ["a", "a.sha256"])
def test_what_was_changed_or_may_be_by_others_counts_as_none(folder: Path, name: str) -> None:
    keep(b"content", folder / "a")
    (folder / name).chmod(0o666)
    assert kept(folder / "a") is None
    keep(b"content", folder / "a")
    (folder / name).write_bytes(b"else")
    assert kept(folder / "a") is None
    (folder / name).unlink()
    assert not is_kept(folder / "a")


def test_a_folder_that_others_may_write_is_none(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(NotPrivateError, match=r"others may write into .*; run `chmod go-w` on it, or name a folder"):
        private_folder("own")
