"""The bar of a scan: how far the network is that is looked at, and nothing where there is no terminal."""

from __future__ import annotations

from functools import partial

import pytest
from rich.console import Console

from zoovet.cli import scan_bar
from zoovet.vet import ScanProgress


def test_a_scan_says_how_far_the_network_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scan_bar, "Console", partial(Console, force_terminal=True, width=160, color_system=None))
    with scan_bar.scan_bar(2, quiet=False) as tell:
        assert tell is not None
        tell(ScanProgress(1, 1, "[b].pt: 11 of 20: warps"))
    shown = capsys.readouterr().err
    assert "seeking [b].pt: 11 of 20: warps" in shown
    assert "1/2 files" in shown
    bar = next(line for line in shown.splitlines() if "seeking [b].pt" in line)
    assert 0.6 < bar.count("━") / 40 <= 0.8  # one and a half of two


def test_without_a_terminal_a_scan_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with scan_bar.scan_bar(2, quiet=False) as tell:
        assert tell is None
    assert capsys.readouterr().err == ""
