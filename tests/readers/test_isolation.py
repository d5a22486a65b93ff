from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.readers.formats import read_content
from zoovet.readers.isolation import Limits, describe_file

ROOT = Path(__file__).parents[2]


def children_of(process: int) -> list[int]:
    """Processes whose parent it is (Linux)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_what_takes_too_much_memory_or_time_is_one_line_and_the_next_file_is_read(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02" + b"]" * 5_000_000)
    limits = {"memory_bytes": 2**25, "cpu_seconds": 5, "seconds": 60.0, "answer_bytes": 2**20}
    with opened(path) as file, pytest.raises(ZoovetError, match=r"^a takes more than 32 MB of memory to read"):
        describe_file(file, path.stat().st_size, "a", Limits(**limits))
    path.write_bytes(b"\x80\x02" + b"N0" * 5_000_000 + b"N.")
    with opened(path) as file, pytest.raises(ZoovetError, match=r"^a takes more than 1 s to read"):
        describe_file(file, path.stat().st_size, "a", Limits(**{**limits, "cpu_seconds": 1}))
    with opened(path) as file, pytest.raises(ZoovetError, match=r"^a takes more than 0\.1 s to read"):
        describe_file(file, path.stat().st_size, "a", Limits(**{**limits, "seconds": 0.1}))
    torch.save(state, tmp_path / "b.pt")
    assert list(read_content(tmp_path / "b.pt").tensors) == list(state)


def test_it_works_from_threads_at_once(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"<html>")
    right: list[bool] = []

    def read() -> None:
        for _ in range(5):
            right.append(list(read_content(tmp_path / "a.pt").tensors) == list(state))
            with pytest.raises(ZoovetError, match="is a web page"):
                read_content(tmp_path / "b.pt")

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 20


def test_a_forked_process_asks_a_reader_of_its_own(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "a.pt")
    read_content(tmp_path / "a.pt")
    child = os.fork()
    if child == 0:
        ok = False
        try:
            ok = len(read_content(tmp_path / "a.pt").tensors) == len(state)
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(read_content(tmp_path / "a.pt").tensors) == len(state)


def test_a_reader_that_was_killed_is_started_anew(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "a.pt")
    read_content(tmp_path / "a.pt")
    for child in children_of(os.getpid()):
        if b"zoovet.readers.reading_server" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(child, signal.SIGKILL)
    assert len(read_content(tmp_path / "a.pt").tensors) == len(state)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_one_that_reads(tmp_path: Path, ending: signal.Signals) -> None:
    """Standard input closed, no guard of ``__main__``, killed or interrupted in the middle of a long file."""
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02" + b"N0" * 20_000_000 + b"N.")
    code = (
        "import os, signal, sys; os.close(0); signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from zoovet.readers.isolation import describe_file\n"
        "file = os.open(sys.argv[1], os.O_RDONLY); print('begun', flush=True)\n"
        "describe_file(file, os.fstat(file).st_size, 'a')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    asker = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    with asker:
        assert asker.stdout is not None
        asker.stdout.readline()
        family: list[int] = []
        end = time.monotonic() + 20
        while len(family) < 2 and time.monotonic() < end:
            time.sleep(0.02)
            family = children_of(asker.pid)
            family += [grandchild for child in family for grandchild in children_of(child)]
        assert len(family) == 2, "the reader and the child that it forked"
        asker.send_signal(ending)
        begun = time.monotonic()
        asker.wait(timeout=20)
        while any(map(is_alive, family)) and time.monotonic() < begun + 20:
            time.sleep(0.02)
        assert not any(map(is_alive, family))
        assert time.monotonic() - begun < 10


def test_it_works_where_the_standard_files_are_closed(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "a.pt")
    code = (
        "import os, sys; [os.close(number) for number in (0, 1, 2)]\n"
        "from zoovet.readers.isolation import describe_file\n"
        "file = os.open(sys.argv[1], os.O_RDONLY); assert file == 0\n"
        "answer = describe_file(file, os.fstat(file).st_size, 'a')\n"
        "os._exit(40 + len(answer.description['data']) // 2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.pt")], env=environment, check=False)
    assert done.returncode == 40 + len(state)


def test_it_works_where_python_was_found_on_a_relative_path(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "a.pth")
    code = (
        "import os, sys; from pathlib import Path; from zoovet.readers.formats import read_content\n"
        "os.chdir('/'); print(sys.executable, len(read_content(Path(sys.argv[1])).tensors))"
    )
    folder = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{folder.name}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }
    words = ["sh", "-c", 'python -c "$0" "$1"', code, str(tmp_path / "a.pth")]
    done = subprocess.run(words, cwd=folder.parent, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split() == [f"{folder.name}/python", str(len(state))]


def test_a_file_takes_a_moment(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "a.pt")
    read_content(tmp_path / "a.pt")
    begun = time.monotonic()
    for _ in range(50):
        read_content(tmp_path / "a.pt")
    assert time.monotonic() - begun < 50 * 0.03 * 3, "30 ms each, on a machine that does three things at once"


def test_deep_keys_and_bombs_cost_nothing(tmp_path: Path) -> None:
    """Tuples nested in a key, whose hash ends Python; one tuple twice in the next, 200 times; both refused at once."""
    path = tmp_path / "a.pkl"
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    twice = b"".join(b"h" + bytes([step]) + b"h" + bytes([step]) + b"\x86q" + bytes([step + 1]) for step in range(200))
    deep_key = b"}" + b")" + b"\x85" * 300_000 + b"K\x01s."
    for root in (deep_key, b"}Nq\x00" + twice + b"K\x01s.", b"}X\x01\0\0\0aNq\x00" + twice + b"s."):
        path.write_bytes(magic + b"\x80\x02" + root + pickle.dumps([], 2) + struct.pack("<q", 0))
        begun = time.monotonic()
        with pytest.raises(ZoovetError, match=r"a\.pkl (is|has|holds|repeats) "):
            read_content(path)
        assert time.monotonic() - begun < 2
