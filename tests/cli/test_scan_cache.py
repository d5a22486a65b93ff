"""``scan`` and its cache: what was sought before is said, and ``--no-cache`` seeks again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zoovet.cli.main import main
from zoovet.vet import FileResult, Scanner
from zoovet.vet.verdicts import no_verdict


@pytest.fixture
def sought(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The files that had to be scanned."""
    files: list[str] = []

    def scan_files(self: Scanner, paths: list[Path], **_: Any) -> Iterator[FileResult]:
        for place, path in enumerate(paths):
            files.append(path.name)
            verdict = replace(no_verdict("none", str(path), None, ()), verdict="healthy", reason=None, effort="normal")
            yield FileResult(place, str(path), (verdict,), None)

    monkeypatch.setattr(Scanner, "scan_files", scan_files)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return files


def test_files_are_sought_once_unless_told(
    sought: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"\x08" + name.encode())
    words = ["scan", str(tmp_path / "a.onnx")]
    assert [main(words), main([*words, str(tmp_path / "b.onnx")])] == [0, 0]
    assert sought == ["a.onnx", "b.onnx"]
    assert "note: 1 of 2 files as found before; --no-cache seeks again" in capsys.readouterr().err
    assert [main([*words, "--effort", "quick"]), main([*words, "--no-cache"])] == [0, 0]
    assert sought[2:] == ["a.onnx", "a.onnx"]
    assert "found before" not in capsys.readouterr().err
    (tmp_path / "xdg" / "zoovet" / "scans").chmod(0o777)
    assert main(words) == 0
    assert "note: what was found is not kept for the next scan: others may write into" in capsys.readouterr().err
