"""What a job's process leaves in the folder of its results, by name."""

from __future__ import annotations

__all__ = ["FRAGMENTS_NAME", "REPORT_NAME", "SCAN_NAME"]

SCAN_NAME = "scan.json"
"""What ``zoovet scan --json`` would print."""

FRAGMENTS_NAME = "verdicts.json"
"""A list of verdicts as sections of HTML, the first ones'."""

REPORT_NAME = "report"
"""Folder of the pages that ``zoovet scan --report`` would write."""
