"""The table of verdicts: whatever the terminal's width, no verdict, score or target is cut."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from zoovet.cli.scan_table import scan_as_table


def judged(file: str, verdict: str, target: int | None = None) -> Any:
    """What the table reads of a verdict."""
    found = SimpleNamespace(file=file, network=0, target=target, target_name=None if target is None else "speed limit")
    found.probability, found.in_distribution, found.threshold, found.verdict = 0.9876, 0.5432, 0.8765, verdict
    return SimpleNamespace(verdict=found, allowance="by us" if verdict == "healthy" else None)


ROWS = [judged("folder/of/somebody/resnet18.safetensors", "trojaned", 3), judged("b.pt", "healthy")]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_nothing_is_cut_in_a_terminal_of_any_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", scan_as_table(ROWS)).splitlines()
    table = "\n".join(lines)
    for word in ("0.9876", "0.5432", "0.8765", "trojaned", "healthy (allowed)", "3 speed limit", "threshold", "target"):
        assert word in table
    assert "…" not in table
    end = next(place for place, line in enumerate(lines) if line.startswith("b.pt"))
    assert "".join(line.split("  ")[0].strip() for line in lines[1:end]) == "folder/of/somebody/resnet18.safetensors"
    widest = max(map(len, lines))
    assert widest <= max(width, 90)
    assert len(lines) == 3 if width == 200 else len(lines) >= 3


def test_a_pipe_has_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    lines = scan_as_table(ROWS).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:4] == ["folder/of/somebody/resnet18.safetensors", "0.5432", "0.9876", "0.8765"]
