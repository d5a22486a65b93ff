from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from zoovet.errors import ZoovetError
from zoovet.yaml12 import MAX_YAML_BYTES, read_yaml, received, yaml_value

LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))

ODD = {
    "laughs": (LAUGHS, r"the alias \*a0; write out what it stands for \(line 2\)"),
    "itself": ("kind: &a [*a]", r"the alias \*a; write out"),
    "nested": ("kind: " + "[" * 20_000, "values nested more than 32 deep"),
    "nested and closed": ("kind: " + "[" * 900 + "]" * 900, "values nested more than 32 deep"),
    "nested maps": ("".join(f"{' ' * i}a:\n" for i in range(300)), "values nested more than 32 deep"),
    "digits": ("seed: " + "9" * 5000, "an integer of 5,000 digits"),
    "no int": ("seed: !!int abc", r"'abc' is no int \(line 1\)"),
    "no int's digits": ("seed: !!int ''", "'' is no int"),
    "no float": ("rate: !!float abc", "'abc' is no float"),
    "no bool": ("rate: !!bool abc", "'abc' is no bool"),
    "timestamp": ("rate: !!timestamp 9999-99-99", "could not determine a constructor"),
    "binary": ("rate: !!binary '@@@'", "could not determine a constructor"),
    "set": ("rate: !!set {a, b}", "could not determine a constructor"),
    "list as a key": ("? [a, b]\n: 1", "found unhashable key"),
    "control": ("kind: \x1b[31mX", "special characters are not allowed"),
    "two documents": ("a: 1\n---\nb: 2", "but found another document"),
    "long tag": ("a: !" + "x" * 10_000 + " 1", "could not determine a constructor"),
    "long key": (f"{'k' * 1000}: 1\n" * 2, "is given twice"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_no_configuration_needs_is_one_line(tmp_path: Path, name: str) -> None:
    text, message = ODD[name]
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ZoovetError, match=rf"run\.yaml cannot be read as YAML: .*({message})") as caught:
        read_yaml(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_what_is_no_small_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("a: 1\n" * (MAX_YAML_BYTES // 5 + 1), encoding="utf-8")
    with pytest.raises(ZoovetError, match=r"run\.yaml is larger than the 256 kB that such a file may weigh"):
        read_yaml(path)
    path.write_text("a: 1", encoding="utf-16")
    with pytest.raises(ZoovetError, match=r"run\.yaml cannot be read: it is no text in UTF-8"):
        read_yaml(path)
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ZoovetError, match=r"pipe\.yaml cannot be read: it is a named pipe"):
        read_yaml(tmp_path / "pipe.yaml")
    with pytest.raises(ZoovetError, match=r"cannot be read: it is a folder"):
        read_yaml(tmp_path)


def test_the_usual_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("\ufeffa: !!str 5\nb: !!float 1\nc: [1e-3, .inf, on]\nd: {e: !!int 7}\n'<<': 1\n", encoding="utf-8")
    assert read_yaml(path) == {"a": "5", "b": 1.0, "c": [1e-3, float("inf"), "on"], "d": {"e": 7}, "<<": 1}


def test_the_largest_file_takes_seconds(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("a: [" + "1," * (MAX_YAML_BYTES // 8) + "1]", encoding="utf-8")
    start = time.process_time()
    assert len(read_yaml(path)["a"]) == MAX_YAML_BYTES // 8 + 1
    assert time.process_time() - start < 30


def test_values_are_shown_short_and_harmless() -> None:
    assert received("a\x1b[2J") == r"'a\x1b[2J' (text)"
    assert len(received(list(range(100_000)))) < 200
    with pytest.raises(ZoovetError, match=r"^--split: '\{train: &a \[\*a\]\}' is not a YAML value: the alias"):
        yaml_value("{train: &a [*a]}", "--split")
