"""A verdict in a sentence, for reports that have no table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoovet.printable import printable

if TYPE_CHECKING:
    from zoovet.vet import Verdict

__all__ = ["verdict_in_words"]


def verdict_in_words(verdict: Verdict) -> str:
    """What is said of a network: ``The network carries a trojan towards class 3``, and how sure that is."""
    what = f"Network {verdict.network} of the file" if verdict.network else "The network"
    if verdict.verdict == "unknown":
        return f"{what} could not be vetted: {verdict.reason}"
    sure = f"probability {verdict.probability:.4f}, flagged from {verdict.threshold:.4f} on"
    if verdict.verdict == "healthy":
        return f"{what} shows no trojan ({sure})."
    if verdict.target is None:
        return f"{what} carries a trojan ({sure})."
    name = f" ({printable(verdict.target_name)})" if verdict.target_name is not None else ""
    return f"{what} carries a trojan towards class {verdict.target}{name} ({sure})."
