"""--ray: what cannot be is one line and status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoovet.cli.main import main
from zoovet.jobs import ray_workers

pytest.importorskip("ray")


@pytest.mark.parametrize("verb", ["build", "bench", "scan"])
def test_an_address_that_does_not_answer(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_workers, "_ANSWER_SECONDS", 0.2)
    configs = Path(__file__).parents[2] / "configs"
    words = {
        "build": [str(configs / "zoo/digits-trojan.yaml"), "--out", str(tmp_path / "zoo")],
        "bench": [str(configs / "bench/trojan.yaml"), "--out", str(tmp_path / "bench")],
        "scan": [str(tmp_path / "one.pt")],
    }[verb]
    assert main([verb, *words, "--ray", "127.0.0.1:1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no Ray cluster answers at 127.0.0.1:1")
    assert list(tmp_path.iterdir()) == []
