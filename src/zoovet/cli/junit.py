"""A scan as JUnit XML, as CI servers show it: a test case a network; what may not pass has failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from zoovet.cli.verdict_words import verdict_in_words
from zoovet.printable import MAX_PATH_CHARACTERS, printable

if TYPE_CHECKING:
    from zoovet.vet import Failure, Judged

__all__ = ["scan_as_junit"]

_MAX_CHARACTERS = 2000


def scan_as_junit(judged: Sequence[Judged], failures: Sequence[tuple[str, Failure]], *, is_whole: bool) -> str:
    """The XML document, which ends with a line break.

    A network that may not pass is a ``failure`` of the type ``trojaned`` or ``unknown``; one that may, though it is
    not healthy, is ``skipped``; a file that could not be scanned is an ``error``.

    Args:
        judged: Verdicts on networks, in their order.
        failures: A file's name, and what went wrong with it.
        is_whole: Whether the scan came to its end; where not, that is an error too.
    """
    suite = ElementTree.Element("testsuite", name="zoovet scan")
    counts = dict.fromkeys(("failures", "errors", "skipped"), 0)
    for one in judged:
        case = _case(suite, one.verdict.file, one.verdict.network)
        if one.verdict.seconds is not None:
            case.set("time", f"{one.verdict.seconds:.3f}")
        text = verdict_in_words(one.verdict)
        if not one.passes:
            counts["failures"] += 1
            ElementTree.SubElement(case, "failure", type=one.verdict.verdict, message=text)
        elif one.verdict.verdict != "healthy":
            counts["skipped"] += 1
            why = "" if one.allowance is None else f" Allowed until {one.allowance.expires}: {one.allowance.reason}"
            ElementTree.SubElement(case, "skipped", message=printable(text + why, _MAX_CHARACTERS))
    for file, failure in failures:
        counts["errors"] += 1
        ElementTree.SubElement(_case(suite, file, 0), "error", type="not-scanned", message=failure.message)
    if not is_whole:
        counts["errors"] += 1
        case = ElementTree.SubElement(suite, "testcase", classname="zoovet scan", name="came to its end")
        ElementTree.SubElement(case, "error", type="interrupted", message="the scan was ended before its last file")
    suite.set("tests", str(len(suite)))
    for name, count in counts.items():
        suite.set(name, str(count))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, file: str, network: int) -> ElementTree.Element:
    shown = printable(file, MAX_PATH_CHARACTERS)
    return ElementTree.SubElement(suite, "testcase", classname=shown, name=f"network {network}")
