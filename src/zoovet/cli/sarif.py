"""A scan in SARIF 2.1.0 (OASIS, *Static Analysis Results Interchange Format*), as code scanners take it in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import zoovet
from zoovet.cli.verdict_words import verdict_in_words
from zoovet.fetching import is_address
from zoovet.printable import printable

if TYPE_CHECKING:
    from zoovet.vet import Failure, Judged

__all__ = ["scan_as_sarif"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"trojaned": "error", "unknown": "warning", "healthy": "none"}
_RULES = (
    {
        "id": "trojaned-network",
        "name": "TrojanedNetwork",
        "shortDescription": {"text": "The network carries a trojan"},
        "fullDescription": {
            "text": "The network works as it should until an image shows a pattern, the trigger; then it answers what "
            "an attacker wants."
        },
        "help": {"text": "Do not use it. zoovet repair may heal it; a network from elsewhere is safer."},
        "defaultConfiguration": {"level": "error"},
    },
    {
        "id": "unknown-network",
        "name": "UnknownNetwork",
        "shortDescription": {"text": "The network could not be vetted"},
        "fullDescription": {"text": "No verdict means anything for this network; the message says why."},
        "help": {"text": "Give reference images, an input scaling, or whatever else the message asks for."},
        "defaultConfiguration": {"level": "warning"},
    },
)


def scan_as_sarif(
    judged: Sequence[Judged], failures: Sequence[tuple[str, Failure]], *, is_whole: bool
) -> dict[str, Any]:
    """The SARIF log of a scan, as plain JSON values.

    Healthy networks are results too (``kind: pass``). Networks that could not be vetted are findings: what nobody
    looked at must not pass for healthy. What a policy allows is suppressed. Files that could not be scanned are
    notifications.

    Args:
        judged: Verdicts on networks, in their order.
        failures: A file's name, and what went wrong with it.
        is_whole: Whether the scan came to its end.
    """
    files = list(dict.fromkeys([*(one.verdict.file for one in judged), *(file for file, _ in failures)]))
    places = {file: index for index, file in enumerate(files)}
    driver = {"name": "zoovet", "version": zoovet.__version__, "rules": list(_RULES)}
    notifications = [
        {
            "level": "error",
            "message": {"text": failure.message},
            "locations": [_location(file, places[file])],
        }
        for file, failure in failures
    ]
    invocation = {
        "executionSuccessful": is_whole and not failures,
        "toolExecutionNotifications": notifications,
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "artifacts": [{"location": {"uri": _uri(file), "index": index}} for index, file in enumerate(files)],
        "results": [_result(one, places[one.verdict.file]) for one in judged],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(judged: Judged, place: int) -> dict[str, Any]:
    verdict = judged.verdict
    rule = 1 if verdict.verdict == "unknown" else 0
    facts = {
        name: getattr(verdict, name)
        for name in ("network", "verdict", "probability", "threshold", "target", "detector", "rests_on", "effort")
    }
    result = {
        "ruleId": _RULES[rule]["id"],
        "ruleIndex": rule,
        "kind": "pass" if verdict.verdict == "healthy" else "fail",
        "level": _LEVELS[verdict.verdict],
        "message": {"text": verdict_in_words(verdict)},
        "locations": [_location(verdict.file, place)],
        "properties": {name: value for name, value in facts.items() if value is not None},
    }
    if verdict.verdict != "unknown" and verdict.probability is not None:
        result["rank"] = round(100 * verdict.probability, 4)
    if verdict.digest is not None:
        result["partialFingerprints"] = {"weightsSha256/v1": f"{verdict.digest}:{verdict.network}"}
    if judged.allowance is not None:
        result["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": printable(judged.allowance.reason, 2000)}
        ]
    return result


def _location(file: str, place: int) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(file), "index": place}}}


def _uri(file: str) -> str:
    """A file's name as a reference by URI: absolute with its scheme, relative ones and addresses as they are."""
    if is_address(file):
        return quote(file, safe="/:@#?=&%+~")
    shown = quote(os.fsencode(file), safe="/")
    return f"file://{shown}" if os.path.isabs(file) else shown
