"""A process's name tells it from all others, and workers do not outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoovet.processes import ProcessName, num_usable_cores

PARENT = """
import multiprocessing, os, time
from zoovet.processes import end_with_parent

def work(parent):
    end_with_parent(parent)
    time.sleep(60)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work, args=(os.getpid(),))
    process.start()
    time.sleep(0.3)
    print(process.pid, flush=True)
    time.sleep(60)
"""


GROUP = """
import multiprocessing, os, signal, sys, time
from zoovet.processes import start_resource_tracker

if sys.argv[1] == "started early":
    start_resource_tracker()
semaphore = multiprocessing.get_context("spawn").Semaphore()
time.sleep(0.3)  # until it has set what it ignores
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.killpg(0, signal.SIGHUP)
time.sleep(0.2)
del semaphore
"""


def test_a_name_is_read_back_and_nothing_else_is() -> None:
    own = ProcessName.own()
    assert ProcessName.parse(str(own)) == own
    assert own.is_here
    assert own.runs
    for text in ("", "abc", "a-b-c", "a-1", "a-1-2-3", f"a-{'9' * 99}-1", "a-²-1"):
        assert ProcessName.parse(text) is None


def test_a_process_that_ended_or_is_another_machines_does_not_run() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is there still, and has ended
    started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    name = ProcessName(machine=ProcessName.own().machine, pid=process.pid, started=started)
    assert not name.runs
    process.wait()
    assert not name.runs
    assert not ProcessName(machine="0" * 12, pid=os.getpid(), started=ProcessName.own().started).runs


def test_what_tidies_up_after_workers_outlives_a_hang_up(tmp_path: Path) -> None:
    script = tmp_path / "group.py"
    script.write_text(GROUP)
    for how in ("started early", "started late"):
        done = subprocess.run(
            [sys.executable, str(script), how], stderr=subprocess.PIPE, text=True, check=True, start_new_session=True
        )
        assert ("KeyError" in done.stderr) == (how == "started late")


def test_a_worker_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while _runs(worker):
        assert time.monotonic() < deadline, "the worker goes on"
        time.sleep(0.05)
    parent.stdout.close()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("text", [".a.b", "x" * 300])
def test_odd_texts_are_no_names(text: str) -> None:
    assert ProcessName.parse(text) is None


def test_usable_cores_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert num_usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_usable_cores() == 1
