from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.tasks.resume_state import checked_state

_STATE = {"callbacks": {"keeper": {"seconds": 1.0}}, "loops": {}, "state_dict": {"weight": torch.ones(2)}}


def test_a_state_is_read(tmp_path: Path) -> None:
    torch.save(_STATE, tmp_path / "resume.ckpt")
    assert checked_state(tmp_path / "resume.ckpt")["callbacks"] == _STATE["callbacks"]


def test_what_is_no_state_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "resume.ckpt"
    states = ([], {}, {**_STATE, "callbacks": [1]}, {**_STATE, "callbacks": {"keeper": 3}}, {**_STATE, "loops": None})
    for state in states:
        torch.save(state, path)
        with pytest.raises(ZoovetError, match=r"resume\.ckpt, cannot be read; remove that file to begin the run again"):
            checked_state(path)
    path.write_bytes(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    with pytest.raises(ZoovetError, match="cannot be read; remove that file"):
        checked_state(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ZoovetError, match="cannot be read; remove that file"):
        checked_state(path)
