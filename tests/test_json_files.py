from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoovet.errors import ZoovetError
from zoovet.json_files import MAX_DEPTH, parse_json, parse_json_object, read_json, read_json_object, typed_value


def test_what_json_says_is_read(tmp_path: Path) -> None:
    value = {"a": [1, -2.5, "ü😀", None, True, {}], "b": 2**64, "c": {"": []}}
    path = tmp_path / "a.json"
    path.write_text("\ufeff" + json.dumps(value), encoding="utf-8")
    assert read_json(path) == read_json_object(path) == value
    assert parse_json(json.dumps(value).encode(), "it") == value
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.dumps(parse_json(deepest, "it")) == deepest


ODD = {
    "": "Expecting value",
    "{": "Expecting property name",
    "[" * 10_000: "more than 64 deep",
    "[" * 900 + "]" * 900: "more than 64 deep",
    '{"a":' * 65 + "1" + "}" * 65: "more than 64 deep",
    '{"a": 1, "b": 2, "a": 1}': "the key 'a' is given twice",
    "[NaN]": "NaN is no JSON",
    "-Infinity": "-Infinity is no JSON",
    "1e999": "the number 1e999 is too large",
    "9" * 5000: "an integer of 5,000 digits",
    '["\\ud800"]': "half of a character",
    "[" + "1," * 20_000 + "1]": "more than 16,384 values",
    " " * (1 << 19): "is longer than the 256 kB that it may be",
}


@pytest.mark.parametrize("text", ODD, ids=lambda text: f"{text[:12]!r}")
def test_what_is_odd_is_one_line_that_names_it(text: str) -> None:
    with pytest.raises(ZoovetError, match=f"^it .*{ODD[text]}") as caught:
        parse_json(text, "it", 1 << 18)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match="it cannot be read as JSON: 'utf-8' codec can't decode byte 0xff"):
        parse_json(b"\xff", "it")
    path = tmp_path / "a.json"
    path.write_text("{}", encoding="utf-16")
    with pytest.raises(ZoovetError, match=r"a\.json cannot be read: it is no text in UTF-8"):
        read_json(path)


@pytest.mark.parametrize(("text", "kind"), [("[]", "a list"), ("1", "an integer"), ("null", "null")])
def test_where_an_object_is_needed_nothing_else_is_taken(text: str, kind: str) -> None:
    with pytest.raises(ZoovetError, match=f"^it must hold a JSON object, got {kind}$"):
        parse_json_object(text, "it")


def test_a_key_has_the_kind_that_it_must_have() -> None:
    data: dict[str, Any] = {"count": 3, "done": True, "names": ["a"], "share": 1}
    assert typed_value(data, "count", int, "it") == 3
    assert typed_value(data, "share", float, "it") == 1
    assert typed_value(data, "names", list, "it") == ["a"]
    with pytest.raises(ZoovetError, match=r"^it: 'done' must be an integer, got true or false$"):
        typed_value(data, "done", int, "it")
    with pytest.raises(ZoovetError, match=r"^it: 'names' must be an object, got a list$"):
        typed_value(data, "names", dict, "it")
    with pytest.raises(ZoovetError, match=r"^it: the key 'path' is missing; it takes a text$"):
        typed_value(data, "path", str, "it")
