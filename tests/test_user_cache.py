from __future__ import annotations

from pathlib import Path

import pytest

from zoovet.errors import ZoovetError
from zoovet.user_cache import user_cache


def test_the_cache_is_where_the_variable_says_if_that_is_a_whole_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "zoovet"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for named in ("", "relative/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert user_cache() == tmp_path / "home/.cache/zoovet"
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(ZoovetError, match="no home folder to keep a cache in; name a folder by XDG_CACHE_HOME"):
        user_cache()
