from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoovet.vet import FileResult
from zoovet.vet.cached_results import result_from_bytes, result_to_bytes


def _plain(value: Any) -> Any:
    """A record and all in it as values that can be compared."""
    if isinstance(value, Tensor):
        return (str(value.dtype), value.tolist())
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if hasattr(value, "__dataclass_fields__"):
        return (type(value).__name__, {name: _plain(own) for name, own in vars(value).items()})
    return value


def test_a_result_is_read_as_it_was_but_for_its_file(stranger_result: FileResult) -> None:
    (verdict,) = stranger_result.verdicts
    assert verdict.trigger is not None
    assert len(verdict.trigger.examples) == 3
    assert verdict.suspects
    data = result_to_bytes(stranger_result)
    same = result_from_bytes(data, stranger_result.place, stranger_result.file)
    assert _plain(same) == _plain(stranger_result)
    moved = result_from_bytes(data, 7, "other.onnx")
    assert moved is not None
    assert (moved.place, moved.file, moved.verdicts[0].file) == (7, "other.onnx", "other.onnx")


@pytest.mark.parametrize(
    "change", [lambda data: b"", lambda data: data[:40], lambda data: data.replace(b"flips", b"flaps")]
)
def test_another_versions_bytes_are_none(stranger_result: FileResult, change) -> None:
    assert result_from_bytes(change(result_to_bytes(stranger_result)), 0, "a") is None


def test_nothing_of_a_file_is_unpickled(stranger_result: FileResult, tmp_path: Path) -> None:
    torch.save({"verdicts": []}, tmp_path / "pickled")
    assert result_from_bytes((tmp_path / "pickled").read_bytes(), 0, "a") is None
