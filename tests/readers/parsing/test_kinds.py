"""What a file holds is said in people's words, never in the names of our classes or Python's."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import Any

import pytest

from zoovet.errors import ZoovetError
from zoovet.readers import read_content
from zoovet.readers.parsing.kinds import kind_in_words, said_in_parentheses
from zoovet.readers.parsing.values import Array, Global, Instance, OddTensor, Pairs

_LEGACY = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        (True, "a number"),
        (2.5, "a number"),
        ("x", "a text"),
        (bytearray(b"x"), "bytes"),
        ((1, 2), "a list"),
        ({}, "a dictionary"),
        (Pairs(), "a dictionary"),
        (Array(), "an array"),
        (OddTensor("meta"), "a tensor"),
        (Global("os", "system"), "an object"),
        (Instance(Global("a", "B")), "an object"),
        (object(), "an object"),
    ],
)
def test_a_value_is_called_what_people_call_it(value: object, words: str) -> None:
    assert kind_in_words(value) == words


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a\x1b[2J\nb"), r" (a\x1b[2J)"),
        (OSError(errno.EINVAL, "Invalid argument"), " (Invalid argument)"),
        (KeyError(), ""),
        (IndexError(""), ""),
    ],
)
def test_only_what_an_error_says_is_shown(error: Exception, said: str) -> None:
    assert said_in_parentheses(error) == said


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (pickle.dumps("a", 2), "holds a text, expected is a dictionary of named tensors"),
        (pickle.dumps({}, 2), "it is a dictionary of 0 entries"),
        (pickle.dumps([3], 2), "it is a list of 1 entry;"),
        (b"\x80\x02cargparse\nNamespace\n)R.", "holds an object, 'argparse.Namespace', expected is a dictionary"),
        (b"\x80\x02K\x01K\x02a.", "items are added to a number"),
        (b"\x80\x02K\x01K\x02K\x03s.", "entries are set in a number"),
        (b"\x80\x02K\x01K\x02b.", "a state is given to a number"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "a dictionary is made of a number"),
    ],
)
def test_messages_name_no_class(tmp_path: Path, held: bytes, told: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(_LEGACY + held + pickle.dumps([], 2))
    with pytest.raises(ZoovetError) as raised:
        read_content(path)
    message = str(raised.value).removeprefix(str(path))
    assert told in message
    assert not any(name in message for name in ("ForeignObject", "NoneType", "Pairs", " int", " dict ", " str "))


def test_what_no_reader_foresaw_is_damage_without_the_error_s_class(monkeypatch: Any) -> None:
    from zoovet.readers import reading_server

    def broken(file: Any, file_bytes: int) -> Any:
        raise OSError(errno.EINVAL, "Invalid argument")

    written: list[bytes] = []
    monkeypatch.setattr(reading_server.os, "write", lambda _, data: written.append(bytes(data)) or len(data))
    monkeypatch.setattr(reading_server.os, "lseek", lambda *_: 0)
    with open("/dev/null", "rb") as source:
        reading_server._answer(broken, source.fileno(), 1, 0)
    told = b"".join(written)
    assert b"is damaged or truncated: what it holds makes no sense (Invalid argument); get it anew" in told
    assert b"OSError" not in told
