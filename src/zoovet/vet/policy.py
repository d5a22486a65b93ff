"""A policy: what a pipeline lets pass, in a file beside what it is about (``zoovet.toml``)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.text_files import read_text_file
from zoovet.vet.verdicts import Verdict

__all__ = ["Allowance", "Judged", "Policy", "judged", "read_policy"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """A network that may pass whatever its verdict is.

    Attributes:
        digest: SHA-256 of its weights, 64 hexadecimal digits, as its verdict says it.
        reason: Why it may pass, and who says so.
        expires: The last day on which it may (UTC).
    """

    digest: str
    reason: str
    expires: date

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise ZoovetError(f"digest must be 64 hexadecimal digits in lower case, got '{printable(self.digest, 80)}'")
        if not self.reason.strip():
            raise ZoovetError("reason must say why the network may pass")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a pipeline lets pass.

    Attributes:
        threshold: Probability from which networks are flagged; each detector's own where left out.
        false_alarms: Share of healthy strangers that may be called trojaned; 0.01 where left out.
        effort: How much is sought in strangers; ``normal`` where left out.
        unknown: Whether networks that could not be vetted make the scan ``fail`` or ``pass``, with a note.
        allow: Networks that may pass.
    """

    threshold: float | None = None
    false_alarms: float | None = None
    effort: Literal["quick", "normal", "thorough"] | None = None
    unknown: Literal["fail", "pass"] = "fail"
    allow: tuple[Allowance, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ZoovetError(f"threshold must be from 0 to 1, got {self.threshold}")
        if self.false_alarms is not None and not 0 < self.false_alarms < 1:
            raise ZoovetError(f"false_alarms must be above 0 and below 1, got {self.false_alarms}")
        if self.threshold is not None and self.false_alarms is not None:
            raise ZoovetError("threshold and false_alarms both set the threshold: leave one of them out")
        digests = [allowance.digest for allowance in self.allow]
        if twice := [digest for digest in digests if digests.count(digest) > 1]:
            raise ZoovetError(f"allow holds the digest {twice[0]} twice")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A verdict, and what a policy makes of it.

    Attributes:
        verdict: On one network.
        passes: Whether a pipeline may go on with the network.
        allowance: Why it may, though it is not healthy; ``None`` where it is, or may not.
        expired: What let it pass until its last day; ``None`` where nothing did.
    """

    verdict: Verdict
    passes: bool
    allowance: Allowance | None = None
    expired: Allowance | None = None


def judged(verdicts: Sequence[Verdict], policy: Policy, today: date) -> list[Judged]:
    """What a policy makes of verdicts, in their order.

    Args:
        verdicts: On networks.
        policy: The policy.
        today: The day of the scan (UTC).
    """
    allowed = {allowance.digest: allowance for allowance in policy.allow}
    return [_judged(verdict, policy, allowed.get(verdict.digest or ""), today) for verdict in verdicts]


def _judged(verdict: Verdict, policy: Policy, allowance: Allowance | None, today: date) -> Judged:
    if verdict.verdict == "healthy":
        return Judged(verdict=verdict, passes=True)
    if allowance is not None and today <= allowance.expires:
        return Judged(verdict=verdict, passes=True, allowance=allowance)
    passes = verdict.verdict == "unknown" and policy.unknown == "pass"
    return Judged(verdict=verdict, passes=passes, expired=allowance)


def read_policy(path: str | Path) -> Policy:
    """The policy in a TOML file: keys of :class:`Policy`, and a table ``[[allow]]`` for each :class:`Allowance`.

    Raises:
        ZoovetError: It cannot be read, is no TOML, or a key is unknown, missing, or of a value that does not fit.
    """
    try:
        values: dict[str, Any] = tomllib.loads(read_text_file(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ZoovetError(f"{printable(path)} cannot be read as TOML: {printable(error)}") from None
    return read_config(Policy, _with_quoted_days(values), where=printable(path))


def _with_quoted_days(values: dict[str, Any]) -> dict[str, Any]:
    """TOML knows days; an allowance's may stand in quotation marks all the same."""
    allow = values.get("allow")
    if not isinstance(allow, list):
        return values
    return {**values, "allow": [_with_quoted_day(entry) if isinstance(entry, dict) else entry for entry in allow]}


def _with_quoted_day(entry: dict[str, Any]) -> dict[str, Any]:
    try:
        return {**entry, "expires": date.fromisoformat(entry["expires"])}
    except (KeyError, TypeError, ValueError):
        return entry  # missing, a day as it is, or no day: said by the key's name
