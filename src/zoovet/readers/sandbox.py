"""What the process that reads a file from a stranger may do: limits of the system, and a filter of its calls."""

from __future__ import annotations

import ctypes
import platform
import resource
import signal
import struct
import sys
from collections.abc import Sequence

__all__ = ["confine", "die_with_parent", "filter_calls"]

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 1, 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # refuse: the call returns EPERM
_X32_BIT = 0x40000000

# read, write, fstat, lseek, mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, pread64, readv,
# writev, sched_yield, mremap, madvise, nanosleep, getpid, exit, gettimeofday, times, getrusage, futex, clock_gettime,
# clock_nanosleep, exit_group, close, restart_syscall, getrandom, rseq, membarrier, sigaltstack
_ALLOWED = {
    "x86_64": (0xC000003E, (0, 1, 5, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 20, 24, 25, 28, 35, 39, 60, 96, 98, 100, 202,
                            228, 230, 231, 3, 219, 318, 334, 324, 131)),
    "aarch64": (0xC00000B7, (63, 64, 80, 62, 222, 226, 215, 214, 134, 135, 139, 67, 65, 66, 124, 216, 233, 101, 172, 93,
                             169, 153, 165, 98, 113, 115, 94, 57, 128, 278, 293, 283, 132)),
}  # fmt: skip


def confine(memory_bytes: int, cpu_seconds: int) -> None:
    """Take from this process, for good, whatever reading from an open file does not need.

    Args:
        memory_bytes: How much more memory than now it may take.
        cpu_seconds: How long it may compute from now on.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + cpu_seconds
    _limit("RLIMIT_CPU", seconds, seconds + 1)
    _limit("RLIMIT_AS", _address_space() + memory_bytes)
    _limit("RLIMIT_FSIZE", 0)
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_NPROC", 0)
    _limit("RLIMIT_NOFILE", 0)
    filter_calls()


def die_with_parent() -> None:
    """Have this process killed when its parent dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def filter_calls() -> bool:
    """Have the kernel refuse every call of this process but those for reading what is open, for memory, and for ending.

    Returns:
        Whether it does: on Linux, on x86-64 and 64-bit ARM, where the kernel has seccomp.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _ALLOWED or sys.maxsize < 2**32:
        return False
    architecture, calls = _ALLOWED[machine]
    program = _program(architecture, calls)
    code = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(struct.pack("@HxxxxxxP", len(program), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header), 0, 0) == 0)


def _program(architecture: int, calls: Sequence[int]) -> list[bytes]:
    """Instructions of the kernel's packet filter: another architecture's calls kill, unlisted ones are refused."""

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    number, kind = 0, 4  # where the call's number and its architecture lie
    return [
        instruction(_LOAD, kind),
        instruction(_EQUAL, architecture, if_true=1),
        instruction(_RETURN, _KILL),
        instruction(_LOAD, number),
        instruction(_AT_LEAST, _X32_BIT, if_false=1),
        instruction(_RETURN, _KILL),
        *(
            instruction(_EQUAL, call, if_true=len(calls) - index)
            for index, call in enumerate(calls)
        ),
        instruction(_RETURN, _REFUSE),
        instruction(_RETURN, _ALLOW),
    ]  # fmt: skip


def _limit(name: str, soft: int, hard: int | None = None) -> None:
    """Lower a limit; one that is lower already stays, and one that the system does not know is left."""
    kind = getattr(resource, name, None)
    if kind is None:
        return
    _, most = resource.getrlimit(kind)
    wanted = soft if hard is None else hard
    if most not in (resource.RLIM_INFINITY, -1):
        soft, wanted = min(soft, most), min(wanted, most)
    try:
        resource.setrlimit(kind, (soft, wanted))
    except (OSError, ValueError):  # macOS does not take some of them
        return


def _address_space() -> int:
    """Bytes that this process has mapped (Linux); elsewhere a guess on the large side."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 2**30
