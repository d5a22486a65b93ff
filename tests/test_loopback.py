from __future__ import annotations

from zoovet.loopback import is_loopback


def test_only_this_machine_is_this_machine() -> None:
    assert all(map(is_loopback, ("localhost", "LOCALHOST", "127.0.0.1", "127.8.0.1", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "example.org", "127.0.0.1.example.org", "localhost.example", "")))
