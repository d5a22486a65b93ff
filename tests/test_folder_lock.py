"""One process a folder: who comes second is told, and what a killed process left behind stops nobody."""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from zoovet import folder_lock as module
from zoovet.errors import ZoovetError
from zoovet.files import StorageError
from zoovet.folder_lock import LOCK_NAME, FolderLock, folder_lock, require_free_folder

HOLD = """
import sys, time
from pathlib import Path
from zoovet.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1]), "built"):
    print("held", flush=True)
    time.sleep(60)
"""

WIN = """
import sys, time
from pathlib import Path
from zoovet.errors import ZoovetError
from zoovet.folder_lock import folder_lock
print("ready", flush=True)
sys.stdin.readline()
try:
    with folder_lock(Path(sys.argv[1]), "built"):
        time.sleep(0.3)
        print("held")
except ZoovetError as error:
    print(error)
"""


def start(code: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() in ("held\n", "ready\n")
    return process


def leave_record(folder: Path, **changes: Any) -> Path:
    """What a killed process leaves, here or on another machine."""
    with folder_lock(folder, "built"):
        record = json.loads((folder / LOCK_NAME).read_text())
    path = folder / LOCK_NAME
    path.write_text(json.dumps(record | changes))
    return path


def test_a_second_process_is_told_who_is_there_and_a_killed_one_stops_nobody(tmp_path: Path) -> None:
    first = start(HOLD, tmp_path)
    expected = rf"is being built by process {first.pid} on .* \(user .*\) since 20.*; wait for it to end, or give "
    for attempt in (lambda: FolderLock(tmp_path, "built"), lambda: require_free_folder(tmp_path, "built")):
        with pytest.raises(ZoovetError, match=expected):
            attempt()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert (tmp_path / LOCK_NAME).exists()
    with folder_lock(tmp_path, "built") as lock:
        lock.require_held()
    assert list(tmp_path.iterdir()) == []


def test_of_several_that_begin_at_once_one_wins(tmp_path: Path) -> None:
    for _ in range(2):
        processes = [start(WIN, tmp_path) for _ in range(4)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        said = [process.communicate(timeout=30)[0] for process in processes]
        assert sorted(text.startswith("held") for text in said) == [False, False, False, True]
        assert list(tmp_path.iterdir()) == []


def test_a_lock_that_nobody_knows_any_more_is_free(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, "trained")
    del lock
    gc.collect()
    with folder_lock(tmp_path, "trained"):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_NAME]


def test_a_living_process_of_another_machine_is_seen_and_a_dead_one_too(tmp_path: Path) -> None:
    path = leave_record(tmp_path, kernel="elsewhere", host="node-7", pid=12)
    with pytest.raises(ZoovetError, match=r"is being built by process 12 on node-7 \(user"):
        FolderLock(tmp_path, "built")
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))
    FolderLock(tmp_path, "built").release()


def test_this_machine_before_its_restart_holds_nothing(tmp_path: Path) -> None:
    leave_record(tmp_path, kernel="before the restart")
    FolderLock(tmp_path, "built").release()


def test_where_the_kernel_has_no_locks_the_record_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(module, "_SETTLING_SECONDS", 0.01)
    with folder_lock(tmp_path, "built"), pytest.raises(ZoovetError, match=f"built by process {os.getpid()} on"):
        FolderLock(tmp_path, "built")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leave_record(tmp_path, process=f"{module.ProcessName.own().machine}-{ended.pid}-1")
    FolderLock(tmp_path, "built").release()


def test_a_holder_notices_that_its_folder_is_gone_or_anothers(tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    with folder_lock(folder, "built") as lock:
        record = json.loads((folder / LOCK_NAME).read_text())
        (folder / LOCK_NAME).write_text(json.dumps(record | {"token": "other", "pid": 77}))
        with pytest.raises(StorageError, match="it was taken over by process 77 on"):
            lock.require_held()
        (folder / LOCK_NAME).unlink()
        with pytest.raises(StorageError, match="its lock was removed meanwhile"):
            lock.require_held()
        folder.rmdir()
        with pytest.raises(StorageError, match=r"cannot go on in .*zoo: it was removed meanwhile"):
            lock.require_held()


def test_a_record_that_may_not_be_written_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = leave_record(tmp_path)
    usual, refused = os.open, list[str]()

    def another_users(name: Any, flags: int, *arguments: int) -> int:
        if Path(name) == path and flags & os.O_WRONLY and not refused:
            refused.append(str(name))
            raise PermissionError(errno.EACCES, "Permission denied")
        return usual(name, flags, *arguments)

    monkeypatch.setattr(os, "open", another_users)
    with folder_lock(tmp_path, "built") as lock:
        lock.require_held()
    assert refused
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_has_not_written_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writing = threading.Timer(0.1, lambda: (lock.write('{"pid": 77, "host": "here"}'), lock.flush()))
        writing.start()
        with pytest.raises(ZoovetError, match="is being built by process 77 on here"):
            FolderLock(tmp_path, "built")
        writing.join()
        lock.truncate(0)
        monkeypatch.setattr(module, "_SETTLING_SECONDS", 0.01)
        with pytest.raises(ZoovetError, match=r"a process that has not said which it is \(it took \.zoovet\.lock"):
            FolderLock(tmp_path, "built")


def test_a_lock_of_a_store_that_locks_what_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = fcntl.flock

    def as_nfs_does(handle: int, how: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        usual(handle, how)

    monkeypatch.setattr(fcntl, "flock", as_nfs_does)
    with folder_lock(tmp_path, "built"), pytest.raises(ZoovetError, match="is being built by process"):
        FolderLock(tmp_path, "built")


def test_what_is_no_lock_is_one_line(tmp_path: Path) -> None:
    require_free_folder(tmp_path / ("x" * 300), "built")
    with pytest.raises(ZoovetError, match=r"cannot write into .*: File name too long; give another --out"):
        FolderLock(tmp_path / ("x" * 300), "built")
    path = tmp_path / LOCK_NAME
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ZoovetError, match=r"cannot lock .*: \.zoovet\.lock: Too many levels of symbolic links"):
        FolderLock(tmp_path, "built")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ZoovetError, match=r"\.zoovet\.lock is no file; remove it"):
        FolderLock(tmp_path, "built")
    path.unlink()
    for text in ("", "[1]", "{", "[" * 4000):
        path.write_text(text)
        FolderLock(tmp_path, "built").release()
