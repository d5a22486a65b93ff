"""Files are whole or absent; what a killed process had begun goes, what a living one writes stays."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoovet.errors import ZoovetError
from zoovet.files import (
    SECONDS_UNTIL_STALE,
    StorageError,
    atomic_path,
    is_partial,
    remove_dead_partials,
    storage_errors,
    write_text,
)
from zoovet.processes import ProcessName


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        fail_half_way()
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_no_file_takes_the_place_of_a_device_or_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(ZoovetError, match="a device, pipe or socket has that name"), atomic_path(path):
            pytest.fail("nothing is to be written")
    assert [found.name for found in tmp_path.iterdir()] == ["pipe"]
    assert Path("/dev/null").is_char_device()


def test_a_long_name_has_room_for_its_temporary_one(tmp_path: Path) -> None:
    write_text(tmp_path / ("é" * 120), "long")
    assert (tmp_path / ("é" * 120)).read_text() == "long"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "Error writing bytes to file"), "cannot write .*a.txt: No space left on device"),
        (RuntimeError("I/O error: Read-only file system (os error 30)"), "cannot write .*a.txt: Read-only file system"),
    ],
)
def test_a_disk_that_does_not_take_a_file_is_one_line(tmp_path: Path, error: Exception, message: str) -> None:
    with pytest.raises(StorageError, match=message), atomic_path(tmp_path / "a.txt"):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*gone/a.txt: No such file or directory"):
        write_text(tmp_path / "gone" / "a.txt", "text")


def test_errors_that_are_not_the_disks_keep_their_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path):
        (tmp_path.parent / "other" / "missing").read_text()
    with pytest.raises(IndexError), storage_errors(tmp_path):
        raise IndexError
    with pytest.raises(ZoovetError, match="mine"), storage_errors(tmp_path):
        raise ZoovetError("mine")
    with pytest.raises(StorageError, match=r"cannot write into .*: No such file"), storage_errors(tmp_path / "gone"):
        (tmp_path / "gone" / "log.csv").write_text("")


def test_partial_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    own = ProcessName.own()
    started = int(Path(f"/proc/{living.pid}/stat").read_text().rpartition(")")[2].split()[19])
    names = {
        f".a.{ProcessName(machine=own.machine, pid=living.pid, started=started)}.x1.partial": True,
        f".a.{ProcessName(machine=own.machine, pid=living.pid, started=started + 1)}.x2.partial": False,
        f".a.{own}.x3.partial": True,
        ".a.0123456789ab-77-1234.x4.partial": True,  # another machine's, just now
        ".a.0123456789ab-77-1234.x5.partial": False,  # another machine's, long ago
        ".zoo.json.abcdefgh.partial": False,  # an earlier version's
        "mine.partial": True,
        ".hidden": True,
    }
    for name in names:
        (tmp_path / name).touch()
    long_ago = time.time() - SECONDS_UNTIL_STALE - 1
    os.utime(tmp_path / ".a.0123456789ab-77-1234.x5.partial", (long_ago, long_ago))
    try:
        remove_dead_partials(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {name for name, stays in names.items() if stays}
    finally:
        living.communicate(b"\n")
    remove_dead_partials(tmp_path)
    assert not (tmp_path / next(iter(names))).exists()


def test_what_is_written_is_a_partial_file_of_this_process(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    with atomic_path(tmp_path / "below" / "a.b.c") as temporary:
        temporary.write_text("text")
        assert is_partial(temporary)
        remove_dead_partials(tmp_path, recursive=True)
        assert temporary.exists()
    assert (tmp_path / "below" / "a.b.c").read_text() == "text"
