"""What the documents say of zoos that are there is done, on small ones, in a folder and in a bucket."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoovet.cli.main import main
from zoovet.zoo import Zoo

THIS = "tests/zoo/test_documents.py"


@pytest.mark.filterwarnings("default")
def test_zoos_are_summed_up_and_brought_into_one_form(
    documents: Any,
    tiny_zoo: Zoo,
    make_inr_zoo: Callable[..., Zoo],
    s3: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "zoos").mkdir()
    for name in ("fmnist", "park"):
        (tmp_path / "zoos" / name).symlink_to(tiny_zoo.path)
    (tmp_path / "zoos" / "fmnist-inr").symlink_to(make_inr_zoo().path)
    for path in tiny_zoo.path.glob("*[!k]"):
        s3.put_file(str(path), f"my-bucket/park/{path.name}")
    monkeypatch.chdir(tmp_path)
    commands = documents.run_by(THIS)
    assert len(commands) == 4
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, f"{command}: {capsys.readouterr().err}"
    assert "ASR" in capsys.readouterr().out
    assert len(Zoo.open("zoos/fmnist-inr-canonical")) == len(Zoo.open("zoos/fmnist-inr"))
