from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zoovet import private_cache
from zoovet.private_cache import untrusted
from zoovet.zoo.native import compiled_cache
from zoovet.zoo.native.compiled_cache import compiled


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled code is kept in a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "zoovet" / "native"


@pytest.fixture
def made() -> list[Path]:
    return []


@pytest.fixture
def code(made: list[Path]):
    """What compiling gives; ``made`` grows by each compilation."""

    def make(path: Path) -> None:
        made.append(path)
        path.write_bytes(b"code")

    return lambda identity="a": compiled(identity, ".so", make, Path.read_bytes)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a path another user's."""
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65533)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_code_is_compiled_once_and_kept_for_the_user_alone(cache: Path, code, made: list[Path], mask: int) -> None:
    with umask(mask):
        assert [code(), code(), code("b")] == [b"code"] * 3
    assert len(made) == 2
    files = sorted(cache.iterdir())
    assert [path.suffix for path in files] == [".so", ".sha256"] * 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    folders = (cache, cache.parent, cache.parent.parent)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"code"[:2]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"coda"),
        lambda path: path.unlink(),
        lambda path: path.with_name(f"{path.name}.sha256").unlink(),
        lambda path: path.with_name(f"{path.name}.sha256").write_bytes(b"\xff"),
        lambda path: path.chmod(0o666),
        lambda path: (path.rename(path.with_name("x")), path.symlink_to(path.with_name("x"))),
        lambda path: (path.unlink(), os.mkfifo(path)),
    ],
    ids=["truncated", "empty", "flipped", "gone", "no checksum", "bad checksum", "writable", "link", "pipe"],
)
def test_what_is_not_what_was_kept_is_compiled_again(cache: Path, code, made: list[Path], damage) -> None:
    code()
    (path,) = cache.glob("*.so")
    damage(path)
    assert code() == b"code"
    assert len(made) == 2
    assert path.read_bytes() == b"code"
    assert code() == b"code"
    assert len(made) == 2


def test_a_file_of_another_user_is_not_run(
    cache: Path, code, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    code()
    (path,) = cache.glob("*.so")
    with monkeypatch.context() as patch:
        for module in (compiled_cache, private_cache):
            patch.setattr(module, "untrusted", lambda folder: None)
        give_away(path, patch)
        code()
    assert len(made) == 2


def test_a_folder_that_others_may_write_is_not_used_and_the_warning_names_it(
    cache: Path, code, made: list[Path]
) -> None:
    code()
    (path,) = cache.glob("*.so")
    for place in (cache, cache.parent):
        place.chmod(0o777)
        with pytest.warns(UserWarning, match=rf"not kept for the next call: others may write into {place}; run `chmod"):
            assert code() == b"code"
        place.chmod(0o700)
    assert len(made) == 3
    assert not any(scratch.exists() for scratch in made)
    assert path.exists()


def test_a_folder_of_another_user_is_not_used(cache: Path, code, made: list[Path], monkeypatch) -> None:
    code()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryDirectory", _trusted_scratch(tempfile.TemporaryDirectory, patch))
        give_away(cache, patch)
        with pytest.warns(UserWarning, match=r"belongs to another user \(.*\); name a folder of your own by XDG_CACHE"):
            assert code() == b"code"
    assert len(made) == 2


def _trusted_scratch(folder, patch: pytest.MonkeyPatch):
    """A temporary folder beside which only the cache is another user's."""

    def make(**options):
        patch.undo()
        return folder(**options)

    return make


def test_sticky_folders_and_links_are_seen_through(tmp_path: Path) -> None:
    folder = tmp_path / "open" / "mine"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o777)
    assert "others may write into" in str(untrusted(folder))
    folder.parent.chmod(0o1777)
    assert untrusted(folder) is None
    assert "others may write into" in str(untrusted(folder.parent))
    (tmp_path / "file").touch()
    assert "is not a folder" in str(untrusted(tmp_path / "file"))
    folder.chmod(0o770)
    theirs = str(untrusted(folder))
    assert theirs == "None" or "others may write" in theirs


def test_where_nothing_can_be_kept_the_reason_is_told(
    tmp_path: Path, code, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"not kept for the next call: .*file is not a folder; name a"):
        assert code() == b"code"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(Path, "home", _no_home)
    with pytest.warns(UserWarning, match="there is no home folder to keep a cache in; name a folder by XDG_CACHE_HOME"):
        assert code() == b"code"
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/full")
    with pytest.warns(UserWarning, match="/dev/full is not a folder"):
        assert code() == b"code"
    assert len(made) == 3


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_full_disk_keeps_nothing_and_leaves_nothing(
    cache: Path, code, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.warns(UserWarning, match=rf"for the next call: in {cache}: .*No space left on device"):
            assert code() == b"code"
    assert list(cache.iterdir()) == []
    assert code() == b"code"
    assert len(made) == 2


def test_without_a_temporary_folder_the_caches_own_is_compiled_in(
    cache: Path, code, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.TemporaryDirectory

    def none(prefix: str, dir: Path | None = None) -> object:
        if dir is None:
            raise FileNotFoundError("no usable temporary directory")
        return make(prefix=prefix, dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", none)
    assert code() == b"code"
    assert made[0].parent.parent == cache
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(FileNotFoundError, match="no usable temporary directory"):
        code()


def test_what_cannot_be_read_from_the_cache_is_used_from_elsewhere(cache: Path, made: list[Path]) -> None:
    """A disk from which nothing may be run (``noexec``)."""

    def use(path: Path) -> str:
        if path.parent == cache:
            raise OSError(f"{path}: failed to map segment from shared object")
        return "used"

    for _ in range(2):
        with pytest.warns(UserWarning, match="failed to map segment"):
            assert compiled("a", ".so", lambda path: path.write_bytes(b"code"), use) == "used"
