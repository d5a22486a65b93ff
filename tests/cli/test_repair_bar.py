"""The bar of a repair: it never goes back; a line a step where there is no terminal."""

from __future__ import annotations

from functools import partial

import pytest
from rich.console import Console

from zoovet.cli import repair_bar


def test_a_repair_is_a_bar_that_never_goes_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(repair_bar, "Console", partial(Console, force_terminal=True, width=160, color_system=None))
    with repair_bar.repair_bar() as tell:
        tell("2 of 3: edit: 2 of 2: with all images: 1 of 4: [b]")
    assert " 50%" in capsys.readouterr().err
    with repair_bar.repair_bar() as tell:
        tell("2 of 3: edit: 2 of 2: with all images: 1 of 4: triggers")
        tell("2 of 3: edit: suspected: class [3]")
    shown = capsys.readouterr().err
    assert (" 50%" in shown, " 33%" in shown, "suspected: class [3]" in shown) == (True, False, True)


def test_without_a_terminal_a_repair_says_a_line_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    with repair_bar.repair_bar() as tell:
        tell("1 of 3: verdict: [b]")
    assert capsys.readouterr().err == "1 of 3: verdict: [b]\n"
