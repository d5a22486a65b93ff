"""One self-contained web page that says what was measured, on what, and how sure it is."""

from __future__ import annotations

from zoovet.evaluation.report.page import Provenance, write_report

__all__ = ["Provenance", "write_report"]
