"""A server is given its time to answer, and no more."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from zoovet.images.downloads import REMOTE_FILES, RemoteFile
from zoovet.images.servers import why_no_answer

CONTENT = b"a small file"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def server(answer: bytes | None, *, drip: bool = False) -> Iterator[str]:
    """A server that sends an answer to whoever connects; without one it accepts and stays silent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connections = list[socket.socket]()

        def serve() -> None:
            try:
                while True:
                    connection, _ = listening.accept()
                    connections.append(connection)
                    if answer is None:
                        continue
                    connection.recv(4096)
                    for byte in answer if drip else ():
                        connection.sendall(bytes([byte]))
                        time.sleep(0.05)
                    if not drip:
                        connection.sendall(answer)
                        connection.close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


def asked(monkeypatch: pytest.MonkeyPatch, address: str, content: bytes = CONTENT) -> str | None:
    remote = RemoteFile(address, "labels.gz", hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(REMOTE_FILES, "fashion-mnist", (remote,))
    started = time.monotonic()
    why = why_no_answer("fashion-mnist", seconds=0.4)
    assert time.monotonic() - started < 3
    return why


def http(content: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def test_a_server_that_sends_the_file_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(http(CONTENT)) as address:
        assert asked(monkeypatch, address) is None


def test_a_server_that_accepts_and_stays_silent_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(None) as address:
        assert asked(monkeypatch, address) == "did not answer within 0.4 s"


def test_nor_does_one_whose_answer_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(http(CONTENT * 100), drip=True) as address:
        assert asked(monkeypatch, address) == "did not answer within 0.4 s"


def test_a_closed_port_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    why = asked(monkeypatch, address)
    assert why is not None
    assert why.startswith("cannot be reached (")
    assert "refused" in why


def test_an_address_that_nobody_knows_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    why = asked(monkeypatch, "http://nowhere.invalid/")
    assert why == "cannot be reached ([Errno -2] Name or service not known)"


def test_an_address_that_is_looked_up_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: looked_up.wait(5) and [])
    try:
        assert asked(monkeypatch, "http://nowhere.invalid/") == "did not answer within 0.4 s"
    finally:
        looked_up.set()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (http(b"no", "403 Forbidden"), "answered with the error 403"),
        (http(b"<html>please log in</html>"), "answered with something else"),
        (b"\x1b[2Jnonsense\r\n\r\n", r"cannot be reached (\x1b[2Jnonsense"),
    ],
)
def test_other_answers_are_none(monkeypatch: pytest.MonkeyPatch, answer: bytes, message: str) -> None:
    with server(answer) as address:
        why = asked(monkeypatch, address)
    assert why is not None
    assert why.startswith(message)
    assert "\x1b" not in why


def test_a_proxy_that_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    with server(http(b"no", "407 Proxy Authentication Required")) as address:
        monkeypatch.setenv("http_proxy", address)
        assert asked(monkeypatch, "http://somewhere.invalid/") == "answered with the error 407"


def test_the_file_that_is_asked_for_is_small() -> None:
    assert REMOTE_FILES["fashion-mnist"][-1].name == "t10k-labels-idx1-ubyte.gz"
