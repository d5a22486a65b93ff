"""The process that reads files from strangers: it forks a confined child for each, which answers and ends.

Started by :mod:`.isolation` as ``python -I -S``, with the standard library and this package alone, or with one library
besides. It gets an open file and a pipe with every request, never a path, and ends when the socket that it is asked
through is closed.
"""

from __future__ import annotations

import codecs
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import IO

from zoovet.readers.parsing.kinds import said_in_parentheses
from zoovet.readers.parsing.reading import read_file
from zoovet.readers.parsing.refusal import DAMAGED, Refusal
from zoovet.readers.parsing.replies import Reply
from zoovet.readers.sandbox import confine, die_with_parent

__all__ = ["ENDED", "LENGTH", "OUTCOME", "REQUEST", "TIMED_OUT", "main"]

REQUEST = struct.Struct("<QQId")
"""A file's size, bytes of memory, seconds of computing, seconds in all; with it come the file and a pipe's end."""

OUTCOME = struct.Struct("<bi")
"""How a child ended, and the signal that ended it."""

LENGTH = struct.Struct("<Q")
"""Bytes of JSON that begin an answer; what a pickle held in itself follows them."""

ENDED, TIMED_OUT = 0, 1
_CODECS = ("ascii", "cp437", "latin-1", "raw-unicode-escape", "unicode-escape", "utf-8")
_IDLE_MILLISECONDS = 2000

_Reader = Callable[[IO[bytes], int], Reply]


def main(control_fd: int, library: str = "") -> None:
    """Answer requests until the other end of the socket is closed or the parent is gone.

    Args:
        control_fd: The socket.
        library: ``h5py``, with which Keras files are read; none for all others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business, who ends this process at once
    for name in _CODECS:
        codecs.lookup(name)  # a confined child opens no file, so its modules are there before
    read: _Reader = read_file
    if library == "h5py":
        read = importlib.import_module("zoovet.readers.parsing.hdf5_file").read_hdf5_file
    gc.disable()
    parent = os.getppid()
    with socket.socket(fileno=control_fd) as control:
        waiting = select.poll()
        waiting.register(control, select.POLLIN)
        while True:
            if not waiting.poll(_IDLE_MILLISECONDS):
                if os.getppid() != parent:
                    return
                continue
            message, descriptors, _, _ = socket.recv_fds(control, REQUEST.size, 2)
            if len(message) < REQUEST.size or len(descriptors) != 2:
                return
            file_bytes, memory_bytes, cpu_seconds, seconds = REQUEST.unpack(message)
            outcome = _serve(read, control, descriptors, file_bytes, memory_bytes, cpu_seconds, seconds)
            control.sendall(OUTCOME.pack(*outcome))


def _serve(
    read: _Reader,
    control: socket.socket,
    descriptors: list[int],
    file_bytes: int,
    memory_bytes: int,
    cpu_seconds: int,
    seconds: float,
) -> tuple[int, int]:
    """Have a child read a file and wait for its end, for the time given."""
    alive, child_alive = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(alive)
            control.close()
            die_with_parent()
            confine(memory_bytes, cpu_seconds)
            _answer(read, descriptors[0], descriptors[1], file_bytes)
        finally:
            os._exit(0)
    for descriptor in (child_alive, *descriptors):
        os.close(descriptor)
    waiting = select.poll()
    waiting.register(alive, select.POLLIN)
    waiting.register(control, 0)  # its end, not its messages
    ready = waiting.poll(seconds * 1000)
    os.close(alive)
    ended = any(descriptor == alive for descriptor, _ in ready)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not ended:
        return TIMED_OUT, 0
    return ENDED, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _answer(read: _Reader, source: int, result: int, file_bytes: int) -> None:
    """Read the file and write what it holds, or why it is refused, to the pipe."""
    try:
        os.lseek(source, 0, os.SEEK_SET)
        with open(source, "rb", closefd=False) as file:
            reply = read(file, file_bytes)
        text = json.dumps(reply.description).encode("ascii")
    except Refusal as refusal:
        reply = Reply({"refusal": str(refusal)})
        text = json.dumps(reply.description).encode("ascii")
    except MemoryError:
        reply, text = Reply({}), b'{"refusal": "", "memory": true}'
    except Exception as error:  # whatever a damaged file leads to, it is the file's fault and no other's
        why = f"{DAMAGED}: what it holds makes no sense{said_in_parentheses(error)}; get it anew"
        text = json.dumps({"refusal": why}).encode("ascii")
        reply = Reply({})
    for piece in (LENGTH.pack(len(text)), text, reply.blob):
        view = memoryview(piece)
        while view:
            view = view[os.write(result, view) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:3])
