"""Addresses that lead to this machine itself."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

__all__ = ["is_loopback"]


def is_loopback(host: str) -> bool:
    """Whether a host, by its name or its number, is this machine and no other; without looking names up."""
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False
