"""The files that ``zoovet scan`` writes: pages, and what pipelines take in."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.bom import require_bom_library, scan_as_bom
from zoovet.cli.junit import scan_as_junit
from zoovet.cli.outputs import require_own_file, require_own_folder
from zoovet.cli.sarif import scan_as_sarif
from zoovet.files import write_json, write_text
from zoovet.printable import MAX_PATH_CHARACTERS, printable

if TYPE_CHECKING:
    from zoovet.vet import Failure, Judged

__all__ = ["add_outputs", "require_outputs", "write_outputs"]

_FILES = {
    "sarif": ("in SARIF 2.1.0", "{"),
    "junit": ("as JUnit XML", "<"),
    "bom": ("as a CycloneDX 1.6 bill of materials", "{"),
}
"""Option → what is written, and the character that it begins with."""


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """``--report FOLDER``, ``--sarif FILE``, ``--junit FILE``, ``--bom FILE``."""
    parser.add_argument(
        "--report", type=Path, metavar="FOLDER", help="write a web page for each network, and index.html"
    )
    for name, (form, _) in _FILES.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write the results {form}")


def require_outputs(arguments: argparse.Namespace) -> None:
    """Raise where what is to be written cannot be, or would take the place of what is scanned."""
    if arguments.report is not None:
        require_own_folder(arguments.report, "index.html", "a scan's pages", option="--report")
    if arguments.bom is not None:
        require_bom_library()
    taken = {Path(name): "one of the files to scan" for name in arguments.files}
    for option, (_, beginning) in _FILES.items():
        path = getattr(arguments, option)
        if path is not None:
            require_own_file(path, taken, f"--{option}", beginning)
            taken[path] = f"what --{option} is written to"


def write_outputs(
    arguments: argparse.Namespace,
    judged: Sequence[Judged],
    failures: Sequence[tuple[str, Failure]],
    paths: Mapping[str, Path],
    *,
    is_whole: bool,
) -> None:
    """Write what the options of :func:`add_outputs` ask for.

    Args:
        arguments: With these options.
        judged: Verdicts on networks, in their order.
        failures: A file's name, and what went wrong with it.
        paths: Where files lie that are called otherwise.
        is_whole: Whether the scan came to its end.
    """
    if arguments.sarif is not None:
        write_json(arguments.sarif, scan_as_sarif(judged, failures, is_whole=is_whole))
    if arguments.junit is not None:
        write_text(arguments.junit, scan_as_junit(judged, failures, is_whole=is_whole))
    if arguments.bom is not None:
        write_text(arguments.bom, scan_as_bom(judged, failures, paths, datetime.now(UTC), is_whole=is_whole))
    if arguments.report is not None:
        from zoovet.evaluation.report.verdict_pages import write_verdict_pages

        write_verdict_pages(arguments.report, [one.verdict for one in judged], failures, is_whole=is_whole)
        page = printable(arguments.report / "index.html", MAX_PATH_CHARACTERS)
        print(f"pages: {page}", file=sys.stderr)
