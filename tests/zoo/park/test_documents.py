"""The Python of the page on parks runs, on a small one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoovet.zoo import Zoo


def test_the_python_of_the_page_runs(
    documents: Any, park: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = documents.python("docs/parks.md")
    (tmp_path / "zoos").mkdir()
    (tmp_path / "zoos" / "park").symlink_to(park.path)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "parks.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "colored digits" in shown
    assert "mlp" in shown
