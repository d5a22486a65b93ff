"""Whatever goes wrong in a file becomes one line that names it."""

from __future__ import annotations

import pytest

from zoovet.errors import ZoovetError
from zoovet.readers.exported.file_errors import MALFORMED, naming_the_file
from zoovet.readers.exported.program import UnknownOperation


def raised(error: Exception) -> str:
    with pytest.raises(ZoovetError) as told, naming_the_file("net.onnx"):
        raise error
    assert isinstance(told.value, UnknownOperation) == isinstance(error, UnknownOperation)
    return str(told.value)


def test_the_file_is_named_before_what_is_said() -> None:
    assert raised(ZoovetError("it has no output")) == "net.onnx: it has no output"
    assert raised(UnknownOperation("Loop", "node 3", "is not known")) == "net.onnx: Loop is not known, node 3"


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_nobody_foresaw_is_damage_in_one_line(kind: type[Exception]) -> None:
    assert raised(kind("a\x1b[2J\nb")) == "net.onnx: it is damaged, or says something that is not read (a\\x1b[2J)"
    assert raised(kind()) == "net.onnx: it is damaged, or says something that is not read"


def test_other_errors_are_ours() -> None:
    with pytest.raises(MemoryError), naming_the_file("net.onnx"):
        raise MemoryError
