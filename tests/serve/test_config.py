"""A server's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoovet.errors import ZoovetError
from zoovet.serve import ServeConfig


def test_a_relative_folder_means_the_one_that_the_server_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = ServeConfig(data=Path("jobs"))
    monkeypatch.chdir("/")
    assert config.data == tmp_path / "jobs"


def test_limits_are_positive() -> None:
    with pytest.raises(ZoovetError, match="at_once must be at least 1, got 0"):
        ServeConfig(data=Path("/jobs"), at_once=0)
