"""The command line computes without denormal numbers, which slow networks with silent channels down."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoovet.cli.main import main


def test_a_verb_runs_with_denormals_flushed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = torch.full((4,), 1e-39)
    assert (small * 0.5 > 0).all()
    assert main(["scan", str(tmp_path / "missing.safetensors")]) == 2
    assert (small * 0.5 == 0).all()
    capsys.readouterr()
